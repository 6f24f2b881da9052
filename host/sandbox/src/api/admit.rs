//! Admission: what has to hold before an object is kept.

use serde_json::{Value, json};

use super::error::{ApiError, FieldError};
use super::meta;
use super::resource::{Resource, ResourceKey};
use super::store::ObjectKey;
use super::write::{FieldValidation, Target, Writer};
use super::{cel, crd, schema, strategy};

impl Writer<'_> {
    /// Schema, CEL and names. Returns warnings.
    pub(super) fn admit(
        target: &Target,
        object: &mut Value,
        old: Option<&Value>,
        fields: FieldValidation,
    ) -> Result<Vec<String>, ApiError> {
        let mut warnings = Vec::new();
        let mut errors = strategy::validate(&target.resource, object);
        if let Some(schema) = target.version().and_then(|v| v.schema.clone()) {
            let unknown = schema::prune(&schema.json, object);
            if !unknown.is_empty() && fields == FieldValidation::Strict {
                let list: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
                let message = format!(
                    "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                    target.resource.kind,
                    target.api_version.rsplit('/').next().unwrap_or(""),
                    target.resource.kind,
                    list.join(", ")
                );
                return Err(ApiError::bad_request(message));
            }
            if fields == FieldValidation::Warn {
                warnings.extend(unknown.iter().map(|path| format!("unknown field \"{path}\"")));
            }
            schema::default(&schema.json, object);
            errors.extend(schema::validate(&schema, object, old));
            if errors.is_empty() {
                errors.extend(cel::validate(&schema, object, old));
            }
        }
        let name = meta::text(object, "name");
        if errors.is_empty() { Ok(warnings) } else { Err(ApiError::invalid(&target.resource, name, &errors)) }
    }

    pub(super) fn name(target: &Target, object: &mut Value) -> Result<(), ApiError> {
        let prefix = meta::text(object, "generateName").to_owned();
        if !meta::text(object, "name").is_empty() {
            return Ok(());
        }
        if prefix.is_empty() {
            let error = FieldError::required(FieldError::at("metadata.name"), "name or generateName is required");
            return Err(ApiError::invalid(&target.resource, "", &[error]));
        }
        let kept: String = prefix.chars().take(58).collect();
        let random: String = uuid::Uuid::new_v4().simple().to_string().chars().take(5).collect();
        meta::set(object, "name", json!(format!("{kept}{random}")));
        Ok(())
    }

    pub(super) fn namespace_accepts(&self, target: &Target, key: &ObjectKey) -> Result<(), ApiError> {
        if !target.resource.namespaced {
            return Ok(());
        }
        let namespaces = ResourceKey { group: String::new(), plural: "namespaces".to_owned() };
        let namespace =
            ObjectKey { resource: namespaces.clone(), namespace: String::new(), name: key.namespace.clone() };
        match (self.state.get(&namespace), self.state.resource(&namespaces)) {
            (None, Some(resource)) => Err(ApiError::not_found(resource, &key.namespace)),
            (Some(found), _) if meta::deleting(found) => {
                let why = format!(
                    "unable to create new content in namespace {} because it is being terminated",
                    key.namespace
                );
                Err(ApiError::forbidden(&target.resource, &key.name, &why))
            }
            _ => Ok(()),
        }
    }

    /// For a CustomResourceDefinition: the resource it defines.
    pub(super) fn definition(&self, target: &Target, object: &mut Value) -> Result<Option<Resource>, ApiError> {
        if target.resource.plural != "customresourcedefinitions" || target.resource.custom {
            return Ok(None);
        }
        crd::complete(object, self.clock);
        match crd::resource(object) {
            Ok(resource) => Ok(Some(resource)),
            Err(errors) => Err(ApiError::invalid(&target.resource, meta::text(object, "name"), &errors)),
        }
    }
}
