//! Structural schemas: pruning, defaulting and validation, in the order the real server has.
//!
//! Covered is what generated CRDs use. Not covered: `$ref` (structural schemas forbid it), cost limits of CEL rules, and
//! formats beyond those in [`formats`].

mod defaults;
pub mod formats;
mod prune;
mod validate;

use serde_json::Value;

use super::error::FieldError;
use super::resource::Schema;

pub use defaults::apply as default;
pub use prune::apply as prune;

/// Every way in which the object breaks the schema. With an old object, faults it already had are tolerated (ratcheting).
pub fn validate(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    validate::run(schema, object, old)
}

/// A boolean keyword of a schema.
fn flag(schema: &Value, keyword: &str) -> bool {
    schema.get(keyword).and_then(Value::as_bool).unwrap_or(false)
}

/// Fields of an embedded or top-level object that belong to Kubernetes, not to the schema.
fn is_object_field(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}
