//! CEL rules of a definition (`x-kubernetes-validations`): what other operators check in admission webhooks.
//!
//! A rule stands as low in the schema as it can: the API server skips a rule when the value it stands on did not change,
//! so an object that was stored before the rule existed can still be updated elsewhere.

use serde_json::{Value, json};

/// One rule and its place.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Place in the object: `spec`, `spec.list[].field`, empty for the whole object.
    pub path: &'static str,
    /// The expression; true means valid.
    pub rule: &'static str,
    /// What the user reads when it is not. Names field and remedy.
    pub message: &'static str,
    /// Expression that gives the message with the offending value; `message` is the fallback.
    pub message_expression: Option<&'static str>,
    /// Field to blame, relative to the place of the rule.
    pub field_path: Option<&'static str>,
    /// Machine-readable cause.
    pub reason: Option<&'static str>,
    /// Holds for new objects and for changes only: `oldSelf` is an optional then, and absent when an object is created.
    pub optional_old_self: bool,
}

impl Rule {
    /// A rule with a fixed message.
    pub const fn new(path: &'static str, rule: &'static str, message: &'static str) -> Self {
        Self { path, rule, message, message_expression: None, field_path: None, reason: None, optional_old_self: false }
    }

    /// Says the offending value too.
    #[must_use]
    pub const fn saying(mut self, expression: &'static str) -> Self {
        self.message_expression = Some(expression);
        self
    }

    /// Blames a field below the rule's place.
    #[must_use]
    pub const fn blaming(mut self, path: &'static str) -> Self {
        self.field_path = Some(path);
        self
    }

    /// The field has to be there.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.reason = Some("FieldValueRequired");
        self
    }

    /// The rule looks at what was there before, if anything was: `oldSelf` is an optional. (Kubernetes 1.29 or newer.)
    #[must_use]
    pub const fn unless_it_was_so(mut self) -> Self {
        self.optional_old_self = true;
        self
    }

    /// The change is not allowed.
    #[must_use]
    pub const fn forbidden(mut self) -> Self {
        self.reason = Some("FieldValueForbidden");
        self
    }

    fn to_json(self) -> Value {
        let mut rule = json!({ "rule": self.rule, "message": self.message });
        for (key, value) in
            [("messageExpression", self.message_expression), ("fieldPath", self.field_path), ("reason", self.reason)]
        {
            if let Some(value) = value {
                rule[key] = value.into();
            }
        }
        if self.optional_old_self {
            rule["optionalOldSelf"] = true.into();
        }
        rule
    }

    /// Puts the rule into the schema of the whole object. A place that does not exist is ignored here and found by the
    /// test that counts the rules of every definition.
    pub(crate) fn insert(self, root: &mut Value) {
        let Some(schema) = place(root, self.path) else { return };
        let Value::Object(map) = schema else { return };
        let rules = map.entry("x-kubernetes-validations").or_insert_with(|| json!([]));
        if let Value::Array(rules) = rules {
            rules.push(self.to_json());
        }
    }
}

fn place<'a>(root: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    let mut schema = root;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        let (name, is_list) = step.strip_suffix("[]").map_or((step, false), |name| (name, true));
        schema = schema.get_mut("properties")?.get_mut(name)?;
        if is_list {
            schema = schema.get_mut("items")?;
        }
    }
    Some(schema)
}
