//! The root type of a custom resource and its definition.
//!
//! Not kube's derive, for two reasons: stock manifests may leave out `spec`, which must decode (the derived root type
//! demands it), and the definition must equal the stock one field by field (no `nullable`, no integer widths).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresourceStatus,
    CustomResourceSubresources, CustomResourceValidation,
};
use kube::api::ObjectMeta;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use crate::rule::Rule;
use crate::schema;

/// A column of `kubectl get`.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// Header.
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// Where the value is.
    pub path: &'static str,
    /// Shown only with `-o wide`.
    pub wide: bool,
    /// Explanation.
    pub description: &'static str,
}

impl Column {
    /// A column that is always shown.
    pub const fn new(name: &'static str, kind: &'static str, path: &'static str, description: &'static str) -> Self {
        Self { name, kind, path, wide: false, description }
    }

    /// A column of `-o wide`.
    pub const fn wide(name: &'static str, kind: &'static str, path: &'static str, description: &'static str) -> Self {
        Self { name, kind, path, wide: true, description }
    }
}

/// Age, last among the columns.
pub const AGE: Column = Column::new("Age", "date", ".metadata.creationTimestamp", "Since when the object exists");

/// What a definition says beside the schemas of `spec` and `status`.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Explanation of the kind.
    pub description: &'static str,
    /// API group.
    pub group: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural name.
    pub plural: &'static str,
    /// Short names.
    pub short_names: &'static [&'static str],
    /// Categories.
    pub categories: &'static [&'static str],
    /// `Namespaced` or `Cluster`.
    pub scope: &'static str,
    /// Columns of `kubectl get`.
    pub columns: &'static [Column],
    /// Whether an object without `spec` is refused.
    pub spec_required: bool,
    /// Whether an absent `spec` becomes an empty one, so that its defaults and rules apply.
    pub spec_defaulted: bool,
    /// CEL rules.
    pub rules: &'static [Rule],
}

/// The only API version there is so far.
pub const VERSION: &str = "v1alpha1";

pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .into_generator();
    let mut value = generator.into_root_schema_for::<T>().to_value();
    schema::clean(&mut value);
    value
}

pub(crate) fn root_schema<Spec: JsonSchema, Status: JsonSchema>(definition: &Definition) -> Value {
    let mut spec = schema_of::<Spec>();
    if definition.spec_defaulted {
        spec["default"] = json!({});
    }
    let mut status = schema_of::<Status>();
    schema::without_defaults(&mut status);
    let mut root = json!({
        "type": "object",
        "description": definition.description,
        "properties": {
            "apiVersion": { "type": "string", "description": "Group and version of this object's schema." },
            "kind": { "type": "string", "description": "Kind of this object." },
            "metadata": { "type": "object" },
            "spec": spec,
            "status": status,
        },
    });
    if definition.spec_required {
        root["required"] = json!(["spec"]);
    }
    for rule in definition.rules {
        rule.insert(&mut root);
    }
    root
}

pub(crate) fn build<Spec: JsonSchema, Status: JsonSchema>(definition: &Definition) -> CustomResourceDefinition {
    let root = root_schema::<Spec, Status>(definition);
    let owned = |names: &[&str]| (!names.is_empty()).then(|| names.iter().map(|&name| name.to_owned()).collect());
    CustomResourceDefinition {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", definition.plural, definition.group)),
            ..ObjectMeta::default()
        },
        spec: CustomResourceDefinitionSpec {
            group: definition.group.to_owned(),
            names: CustomResourceDefinitionNames {
                categories: owned(definition.categories),
                kind: definition.kind.to_owned(),
                list_kind: Some(format!("{}List", definition.kind)),
                plural: definition.plural.to_owned(),
                short_names: owned(definition.short_names),
                singular: Some(definition.kind.to_lowercase()),
            },
            scope: definition.scope.to_owned(),
            versions: vec![CustomResourceDefinitionVersion {
                name: VERSION.to_owned(),
                served: true,
                storage: true,
                additional_printer_columns: Some(definition.columns.iter().map(column).collect()),
                schema: Some(CustomResourceValidation {
                    // A JSON schema made of the keywords above always is one of Kubernetes; the CRD tests build every
                    // definition, so a keyword that does not fit cannot go unnoticed.
                    open_api_v3_schema: serde_json::from_value(root).ok(),
                }),
                subresources: Some(CustomResourceSubresources {
                    status: Some(CustomResourceSubresourceStatus(json!({}))),
                    scale: None,
                }),
                ..CustomResourceDefinitionVersion::default()
            }],
            ..CustomResourceDefinitionSpec::default()
        },
        status: None,
    }
}

fn column(column: &Column) -> CustomResourceColumnDefinition {
    CustomResourceColumnDefinition {
        name: column.name.to_owned(),
        type_: column.kind.to_owned(),
        json_path: column.path.to_owned(),
        description: Some(column.description.to_owned()),
        priority: column.wide.then_some(1),
        format: None,
    }
}

/// Declares the root type of a custom resource: the struct, its encoding and kube's traits.
macro_rules! resource {
    (
        $(#[$doc:meta])*
        $kind:ident ($spec:ty, $status:ty),
        group: $group:literal,
        plural: $plural:literal,
        scope: $scope:ident,
        short_names: [$($short:literal),*],
        categories: [$($category:expr),*],
        description: $description:expr,
        columns: $columns:expr,
        spec: $presence:ident,
        rules: $rules:expr $(,)?
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Default, serde::Deserialize)]
        pub struct $kind {
            /// Standard metadata.
            #[serde(default)]
            pub metadata: kube::api::ObjectMeta,
            /// What the user wants.
            #[serde(default)]
            pub spec: $spec,
            /// What was observed.
            pub status: Option<$status>,
        }

        impl $kind {
            /// What its definition says beside the schemas of `spec` and `status`.
            pub const DEFINITION: $crate::resource::Definition = $crate::resource::Definition {
                description: $description,
                group: $group,
                kind: stringify!($kind),
                plural: $plural,
                short_names: &[$($short),*],
                categories: &[$($category),*],
                scope: stringify!($scope),
                columns: $columns,
                spec_required: $crate::resource::resource!(@required $presence),
                spec_defaulted: $crate::resource::resource!(@defaulted $presence),
                rules: $rules,
            };

            /// An object of this name.
            pub fn new(name: &str, spec: $spec) -> Self {
                let metadata = kube::api::ObjectMeta { name: Some(name.to_owned()), ..Default::default() };
                Self { metadata, spec, status: None }
            }
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct;
                let mut object = serializer.serialize_struct(stringify!($kind), 5)?;
                object.serialize_field("apiVersion", concat!($group, "/v1alpha1"))?;
                object.serialize_field("kind", stringify!($kind))?;
                object.serialize_field("metadata", &self.metadata)?;
                object.serialize_field("spec", &self.spec)?;
                match &self.status {
                    Some(status) => object.serialize_field("status", status)?,
                    None => object.skip_field("status")?,
                }
                object.end()
            }
        }

        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = $crate::resource::resource!(@scope $scope);

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group((): &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version((): &()) -> std::borrow::Cow<'_, str> {
                $crate::resource::VERSION.into()
            }
            fn api_version((): &()) -> std::borrow::Cow<'_, str> {
                concat!($group, "/v1alpha1").into()
            }
            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &kube::api::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
                &mut self.metadata
            }
        }

        impl kube::CustomResourceExt for $kind {
            fn crd() -> k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition {
                $crate::resource::build::<$spec, $status>(&Self::DEFINITION)
            }
            fn crd_name() -> &'static str {
                concat!($plural, ".", $group)
            }
            fn api_resource() -> kube::api::ApiResource {
                kube::api::ApiResource::erase::<Self>(&())
            }
            fn shortnames() -> &'static [&'static str] {
                Self::DEFINITION.short_names
            }
        }

        impl kube::core::object::HasSpec for $kind {
            type Spec = $spec;
            fn spec(&self) -> &$spec {
                &self.spec
            }
            fn spec_mut(&mut self) -> &mut $spec {
                &mut self.spec
            }
        }

        impl kube::core::object::HasStatus for $kind {
            type Status = $status;
            fn status(&self) -> Option<&$status> {
                self.status.as_ref()
            }
            fn status_mut(&mut self) -> &mut Option<$status> {
                &mut self.status
            }
        }
    };
    (@scope Cluster) => { kube::core::ClusterResourceScope };
    (@scope Namespaced) => { kube::core::NamespaceResourceScope };
    (@required required) => { true };
    (@required $other:ident) => { false };
    (@defaulted defaulted) => { true };
    (@defaulted $other:ident) => { false };
}
pub(crate) use resource;
