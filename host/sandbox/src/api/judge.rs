//! What a definition would make of an object that was written under another one, without any server.

use serde_json::Value;

use super::error::FieldError;
use super::resource::Schema;
use super::{cel, crd, schema};

/// A definition, ready to judge objects.
pub struct Judge(std::sync::Arc<Schema>);

/// What would become of an object that is written anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judged {
    /// Fields because of which it would be refused, with the words of the server.
    pub refused: Vec<(String, String)>,
    /// Fields that the definition does not know: they would be dropped.
    pub dropped: Vec<String>,
}

impl Judge {
    /// From a `CustomResourceDefinition`, by the version that it stores.
    ///
    /// # Errors
    ///
    /// What is wrong with the definition.
    pub fn new(definition: &Value) -> anyhow::Result<Self> {
        let wrong = |errors: Vec<FieldError>| {
            let errors: Vec<String> =
                errors.iter().map(|error| format!("{}: {}", error.field(), error.message)).collect();
            anyhow::anyhow!(errors.join("; "))
        };
        let resource = crd::resource(definition).map_err(wrong)?;
        let schema = resource.storage_version().and_then(|version| version.schema.clone());
        schema.map(Self).ok_or_else(|| anyhow::anyhow!("it has no schema"))
    }

    /// Judges one, as if it were created; what the server fills in is filled in.
    pub fn object(&self, object: &Value) -> Judged {
        let mut object = object.clone();
        let dropped = schema::prune(&self.0.json, &mut object);
        schema::default(&self.0.json, &mut object);
        let mut errors = schema::validate(&self.0, &object, None);
        // As on the server, rules are asked only about what has the right shape.
        if errors.is_empty() {
            errors = cel::validate(&self.0, &object, None);
        }
        Judged { refused: errors.into_iter().map(|error| (error.field(), error.message)).collect(), dropped }
    }
}

#[cfg(test)]
mod tests {
    use kube::CustomResourceExt;
    use palisade_api::NodeHealthCheck;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_definition_refuses_and_does_not_know_is_named_by_field() {
        let judge = Judge::new(&serde_json::to_value(NodeHealthCheck::crd()).unwrap()).unwrap();
        let template = json!({ "apiVersion": "x/v1", "kind": "FooTemplate", "name": "foo", "namespace": "a" });
        let object = |spec: Value| {
            json!({ "apiVersion": "remediation.medik8s.io/v1alpha1", "kind": "NodeHealthCheck",
            "metadata": { "name": "a" }, "spec": spec })
        };
        let good = json!({ "selector": { "matchLabels": { "a": "b" } }, "minHealthy": "51%",
            "remediationTemplate": template });
        assert_eq!(judge.object(&object(good.clone())), Judged::default());
        let mut bad = good;
        bad["maxUnhealthy"] = json!(1);
        bad["unheard"] = json!(true);
        let judged = judge.object(&object(bad));
        assert_eq!(judged.dropped, ["spec.unheard"]);
        assert_eq!(judged.refused.len(), 1, "{judged:?}");
        assert_eq!(judged.refused[0].0, "spec.maxUnhealthy");
    }
}
