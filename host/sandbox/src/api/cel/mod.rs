//! CEL rules of a custom resource.
//!
//! Parsing, evaluation and the Kubernetes functions come from the `cel` and `kube-cel` crates. The walk over the object
//! is ours, because theirs leaves out what rules written for a real server rely on: `type()`, `oldSelf` as an optional,
//! old items of keyed lists, and that a rule is not held against a value that did not change.

mod values;

use std::sync::Arc;

use kube::core::cel::cel::objects::OptionalValue;
use kube::core::cel::cel::{Context, Value as CelValue};
use kube::core::cel::{CompilationResult, CompiledSchema, KubeCelExt};
use serde_json::Value;

use super::error::{FieldError, Segment};
use super::resource::Schema;

thread_local! {
    // Registering all functions costs more than evaluating a rule, and a context is not `Sync`.
    static FUNCTIONS: Context<'static> = functions();
}

fn functions() -> Context<'static> {
    let mut context = Context::default().with_all();
    // Type values are their names here; rules only compare them.
    context.add_function("type", |value: CelValue| values::type_name(&value).to_owned());
    for name in ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "uint"] {
        context.add_variable_from_value(name, name.to_owned());
    }
    context
}

/// Rules that the object breaks. With an old object, transition rules run too.
///
/// A rule that cannot be evaluated refuses the object, as on the real server.
pub fn validate(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    FUNCTIONS.with(|functions| {
        let mut walk = Walk { functions, errors: Vec::new() };
        let place = Place { json: &schema.json, rules: &schema.rules, root: true };
        walk.visit(&place, object, old, &mut Vec::new());
        walk.errors
    })
}

/// The same node of the schema, as written and as compiled.
#[derive(Clone, Copy)]
struct Place<'a> {
    json: &'a Value,
    rules: &'a CompiledSchema,
    root: bool,
}

struct Walk<'a> {
    functions: &'a Context<'static>,
    errors: Vec<FieldError>,
}

impl Walk<'_> {
    fn visit(&mut self, place: &Place<'_>, value: &Value, old: Option<&Value>, path: &mut Vec<Segment>) {
        if value.is_null() {
            return;
        }
        self.rules(place, value, old, path);
        match value {
            Value::Object(map) => {
                for (name, child) in map {
                    let Some(below) = place.field(name) else { continue };
                    path.push(Segment::Field(name.clone()));
                    self.visit(&below, child, old.and_then(|old| old.get(name)), path);
                    path.pop();
                }
            }
            Value::Array(list) => {
                let Some(below) = place.items() else { return };
                for (index, item) in list.iter().enumerate() {
                    path.push(Segment::Index(index));
                    self.visit(&below, item, old.and_then(|old| place.old_item(old, item)), path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, place: &Place<'_>, value: &Value, old: Option<&Value>, path: &[Segment]) {
        if place.rules.validations.is_empty() {
            return;
        }
        let own = values::convert(place.json, value, place.root);
        let old_own = old.map(|old| values::convert(place.json, old, place.root));
        for compiled in &place.rules.validations {
            match compiled {
                Ok(rule) => {
                    let unchanged = old.is_some_and(|old| old == value);
                    if !unchanged || rule.is_transition_rule {
                        self.rule(rule, &own, old_own.as_ref(), value, path);
                    }
                }
                // Refused when the definition was posted; kept for definitions that came another way.
                Err(error) => {
                    let detail = format!("rule compile error: {error}");
                    self.errors.push(FieldError::invalid(path.to_vec(), "\"rule\"", &detail));
                }
            }
        }
    }

    fn rule(
        &mut self,
        compiled: &CompilationResult,
        own: &CelValue,
        old: Option<&CelValue>,
        value: &Value,
        path: &[Segment],
    ) {
        let mut scope = self.functions.new_inner_scope();
        scope.add_variable_from_value("self", own.clone());
        if compiled.is_transition_rule {
            match (compiled.rule.optional_old_self == Some(true), old) {
                (false, None) => return,
                (false, Some(old)) => scope.add_variable_from_value("oldSelf", old.clone()),
                (true, old) => {
                    let optional = old.map_or_else(OptionalValue::none, |old| OptionalValue::of(old.clone()));
                    scope.add_variable_from_value("oldSelf", CelValue::Opaque(Arc::new(optional)));
                }
            }
        }
        let text = compiled.rule.rule.trim();
        let message = match compiled.program.execute(&scope) {
            Ok(CelValue::Bool(true)) => return,
            Ok(CelValue::Bool(false)) => message(compiled, &scope),
            Ok(other) => format!("rule evaluated to {} instead of bool: {text}", values::type_name(&other)),
            Err(error) => format!("{error} evaluating rule: {text}"),
        };
        let mut path = path.to_vec();
        path.extend(FieldError::at(compiled.rule.field_path.as_deref().unwrap_or("")));
        let kind = kind(value);
        self.errors.push(match compiled.rule.reason.as_deref() {
            Some("FieldValueRequired") => FieldError::required(path, &message),
            Some("FieldValueForbidden") => FieldError::forbidden(path, &message),
            Some("FieldValueDuplicate") => {
                let message = format!("Duplicate value: \"{kind}\": {message}");
                FieldError { path, cause: "FieldValueDuplicate", message }
            }
            _ => FieldError::invalid(path, &format!("\"{kind}\""), &message),
        });
    }
}

fn message(compiled: &CompilationResult, scope: &Context<'_>) -> String {
    let computed = compiled.message_program.as_ref().and_then(|program| program.execute(scope).ok());
    match computed {
        Some(CelValue::String(text)) if !text.trim().is_empty() => text.to_string(),
        _ => match &compiled.rule.message {
            Some(text) => text.clone(),
            None => format!("failed rule: {}", compiled.rule.rule.trim()),
        },
    }
}

impl<'a> Place<'a> {
    fn field(&self, name: &str) -> Option<Place<'a>> {
        let own = self.json.get("properties").and_then(|p| p.get(name)).zip(self.rules.properties.get(name));
        let other = || self.json.get("additionalProperties").zip(self.rules.additional_properties.as_deref());
        own.or_else(other).map(|(json, rules)| Place { json, rules, root: false })
    }

    fn items(&self) -> Option<Place<'a>> {
        let (json, rules) = self.json.get("items").zip(self.rules.items.as_deref())?;
        Some(Place { json, rules, root: false })
    }

    /// Only items of keyed lists can be told to be the same as before.
    fn old_item<'b>(&self, old: &'b Value, item: &Value) -> Option<&'b Value> {
        let keys = self.json.get("x-kubernetes-list-map-keys").and_then(Value::as_array)?;
        let same = |other: &&Value| keys.iter().filter_map(Value::as_str).all(|k| other.get(k) == item.get(k));
        old.as_array()?.iter().find(same)
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "string",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::Array(_) => "array",
        _ => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::cel::compile_schema;
    use serde_json::json;
    use std::collections::HashMap;

    fn errors(schema: Value, object: &Value, old: Option<&Value>) -> Vec<String> {
        let schema = Schema { rules: compile_schema(&schema), json: schema, patterns: HashMap::new() };
        validate(&schema, object, old).iter().map(|e| format!("{}: {}", e.field(), e.message)).collect()
    }

    fn spec_rule(rule: &Value) -> Value {
        json!({"type": "object", "properties": {"spec": {
            "type": "object", "x-kubernetes-validations": [rule],
            "properties": {
                "n": {"x-kubernetes-int-or-string": true},
                "when": {"type": "string", "format": "date-time"},
                "namespace": {"type": "string"},
                "list": {"type": "array", "items": {"type": "integer"}},
            },
        }}})
    }

    #[test]
    fn rules_know_types_times_and_escaped_names() {
        for rule in [
            "type(self.n) == string && self.n == '5%'",
            "type(self.n) != int || self.n >= 0",
            "self.when < timestamp('2027-01-01T00:00:00Z')",
            "self.__namespace__ == 'a'",
            "self.list.all(i, i > 0) && size(self.list) == 2",
        ] {
            let object = json!({"spec": {"n": "5%", "when": "2026-01-01T00:00:00Z", "namespace": "a", "list": [1, 2]}});
            assert_eq!(errors(spec_rule(&json!({"rule": rule})), &object, None), [""; 0], "{rule}");
        }
    }

    #[test]
    fn a_broken_rule_names_its_field_with_the_message_it_computes() {
        let rule = json!({
            "rule": "self.n == 1", "messageExpression": "'n is ' + string(self.n)", "fieldPath": ".n",
            "reason": "FieldValueForbidden",
        });
        let found = errors(spec_rule(&rule), &json!({"spec": {"n": 2}}), None);
        assert_eq!(found, ["spec.n: Forbidden: n is 2"]);
    }

    #[test]
    fn an_unchanged_value_is_not_held_to_a_rule_and_transitions_need_an_old_one() {
        let never = spec_rule(&json!({"rule": "false", "message": "no"}));
        let object = json!({"spec": {"n": 1}});
        assert_eq!(errors(never.clone(), &object, Some(&object)), [""; 0]);
        assert_eq!(errors(never, &object, None), ["spec: Invalid value: \"object\": no"]);

        let fixed = spec_rule(&json!({"rule": "self.n == oldSelf.n"}));
        assert_eq!(errors(fixed.clone(), &object, None), [""; 0]);
        let changed = errors(fixed, &json!({"spec": {"n": 2}}), Some(&object));
        assert_eq!(changed, ["spec: Invalid value: \"object\": failed rule: self.n == oldSelf.n"]);

        let once = spec_rule(&json!({"rule": "oldSelf.hasValue() || self.n == 1", "optionalOldSelf": true}));
        assert_eq!(errors(once.clone(), &json!({"spec": {"n": 2}}), None).len(), 1);
        assert_eq!(errors(once, &json!({"spec": {"n": 2}}), Some(&object)), [""; 0]);
    }

    #[test]
    fn items_of_keyed_lists_find_their_old_selves_by_key() {
        let schema = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {
                "type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}}}});
        let old = json!([{"k": "a", "v": 5}, {"k": "b", "v": 1}]);
        assert_eq!(errors(schema.clone(), &json!([{"k": "b", "v": 2}, {"k": "a", "v": 5}]), Some(&old)), [""; 0]);
        let found = errors(schema, &json!([{"k": "b", "v": 0}]), Some(&old));
        assert_eq!(found, ["[0].v: Invalid value: \"integer\": failed rule: self >= oldSelf"]);
    }
}
