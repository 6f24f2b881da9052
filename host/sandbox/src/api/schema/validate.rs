//! Validation against a structural schema, in the words of the real server.

use serde_json::{Map, Value};

use super::super::error::{FieldError, Segment};
use super::super::resource::Schema;
use super::{flag, formats};

/// All errors, in schema order, without those the old object already had at an unchanged field.
pub fn run(schema: &Schema, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut walk = Walk { schema, errors: Vec::new() };
    walk.check(&schema.json, object, &mut Vec::new());
    let mut errors = walk.errors;
    if let Some(old) = old {
        errors.retain(|error| {
            let now = follow(object, &error.path);
            now.is_none() || now != follow(old, &error.path)
        });
    }
    errors
}

fn follow<'a>(value: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Field(name) => value.get(name),
        Segment::Index(index) => value.get(index),
    })
}

struct Walk<'a> {
    schema: &'a Schema,
    errors: Vec<FieldError>,
}

impl Walk<'_> {
    fn check(&mut self, schema: &Value, value: &Value, path: &mut Vec<Segment>) {
        if value.is_null() && flag(schema, "nullable") {
            return;
        }
        if !self.has_type(schema, value, path) {
            return;
        }
        self.enumeration(schema, value, path);
        match value {
            Value::String(text) => self.string(schema, text, path),
            Value::Number(number) => self.number(schema, number.as_f64().unwrap_or(0.0), value, path),
            Value::Array(list) => self.list(schema, list, path),
            Value::Object(map) => self.object(schema, map, path),
            Value::Null | Value::Bool(_) => {}
        }
        self.combinations(schema, value, path);
    }

    fn invalid(&mut self, path: &[Segment], shown: &str, rest: &str) {
        let error = FieldError::invalid(path.to_vec(), shown, "");
        let detail = format!("{} in body {rest}", error.field());
        self.errors.push(FieldError::invalid(path.to_vec(), shown, &detail));
    }

    fn too_many(&mut self, path: &[Segment], actual: usize, limit: u64, unit: &str) {
        let message = format!("Too many: {actual}: must have at most {limit} {unit}");
        self.errors.push(FieldError { path: path.to_vec(), cause: "FieldValueTooMany", message });
    }

    fn has_type(&mut self, schema: &Value, value: &Value, path: &[Segment]) -> bool {
        let wanted = if flag(schema, "x-kubernetes-int-or-string") {
            "integer,string"
        } else {
            schema.get("type").and_then(Value::as_str).unwrap_or("")
        };
        let fits = match wanted {
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => is_integer(value),
            "number" => value.is_number(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "integer,string" => value.is_string() || is_integer(value),
            // A tree without a type is preserved as it comes.
            _ => true,
        };
        if !fits {
            let shown = format!("\"{}\"", type_name(value));
            let detail = format!("{} in body must be of type {wanted}: {shown}", field(path));
            self.errors.push(FieldError {
                path: path.to_vec(),
                cause: "FieldValueTypeInvalid",
                message: format!("Invalid value: {shown}: {detail}"),
            });
        }
        fits
    }

    fn enumeration(&mut self, schema: &Value, value: &Value, path: &[Segment]) {
        if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            let supported: Vec<String> = allowed.iter().map(Value::to_string).collect();
            let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
            self.errors.push(FieldError { path: path.to_vec(), cause: "FieldValueNotSupported", message });
        }
    }

    fn string(&mut self, schema: &Value, text: &str, path: &[Segment]) {
        let shown = format!("\"{text}\"");
        let length = text.chars().count() as u64;
        if let Some(limit) = number(schema, "maxLength").filter(|limit| length > *limit) {
            let message = format!("Too long: may not be more than {limit} bytes");
            self.errors.push(FieldError { path: path.to_vec(), cause: "FieldValueTooLong", message });
        }
        if let Some(limit) = number(schema, "minLength").filter(|limit| length < *limit) {
            self.invalid(path, &shown, &format!("should be at least {limit} chars long"));
        }
        if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
            && !self.schema.patterns.get(pattern).is_none_or(|regex| regex.is_match(text))
        {
            self.invalid(path, &shown, &format!("should match '{pattern}'"));
        }
        if let Some(format) = schema.get("format").and_then(Value::as_str)
            && !formats::accepts(format, text)
        {
            self.invalid(path, &shown, &format!("must be of type {format}: {shown}"));
        }
    }

    fn number(&mut self, schema: &Value, actual: f64, value: &Value, path: &[Segment]) {
        let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
        let shown = value.to_string();
        if let Some(minimum) = limit("minimum") {
            let strict = flag(schema, "exclusiveMinimum");
            if actual < minimum || (strict && actual <= minimum) {
                let how = if strict { "greater than" } else { "greater than or equal to" };
                self.invalid(path, &shown, &format!("should be {how} {minimum}"));
            }
        }
        if let Some(maximum) = limit("maximum") {
            let strict = flag(schema, "exclusiveMaximum");
            if actual > maximum || (strict && actual >= maximum) {
                let how = if strict { "less than" } else { "less than or equal to" };
                self.invalid(path, &shown, &format!("should be {how} {maximum}"));
            }
        }
        if let Some(step) = limit("multipleOf").filter(|step| *step != 0.0)
            && (actual / step).fract() != 0.0
        {
            self.invalid(path, &shown, &format!("should be a multiple of {step}"));
        }
    }

    fn list(&mut self, schema: &Value, list: &[Value], path: &mut Vec<Segment>) {
        if let Some(limit) = number(schema, "maxItems").filter(|limit| list.len() as u64 > *limit) {
            self.too_many(path, list.len(), limit, "items");
        }
        if let Some(limit) = number(schema, "minItems").filter(|limit| (list.len() as u64) < *limit) {
            self.invalid(path, &list.len().to_string(), &format!("should have at least {limit} items"));
        }
        if let Some(items) = schema.get("items") {
            for (index, item) in list.iter().enumerate() {
                path.push(Segment::Index(index));
                self.check(items, item, path);
                path.pop();
            }
        }
        self.duplicates(schema, list, path);
    }

    fn duplicates(&mut self, schema: &Value, list: &[Value], path: &mut Vec<Segment>) {
        let keys: Vec<&str> = schema
            .get("x-kubernetes-list-map-keys")
            .and_then(Value::as_array)
            .map(|keys| keys.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let identity = |item: &Value| -> Value {
            match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
                Some("map") => {
                    Value::Object(keys.iter().filter_map(|k| Some(((*k).to_owned(), item.get(*k)?.clone()))).collect())
                }
                _ => item.clone(),
            }
        };
        if !matches!(schema.get("x-kubernetes-list-type").and_then(Value::as_str), Some("map" | "set")) {
            return;
        }
        let identities: Vec<Value> = list.iter().map(identity).collect();
        for (index, one) in identities.iter().enumerate() {
            if identities.iter().take(index).any(|other| other == one) {
                path.push(Segment::Index(index));
                let message = format!("Duplicate value: {one}");
                self.errors.push(FieldError { path: path.clone(), cause: "FieldValueDuplicate", message });
                path.pop();
            }
        }
    }

    fn object(&mut self, schema: &Value, map: &Map<String, Value>, path: &mut Vec<Segment>) {
        if let Some(limit) = number(schema, "maxProperties").filter(|limit| map.len() as u64 > *limit) {
            self.too_many(path, map.len(), limit, "properties");
        }
        if let Some(limit) = number(schema, "minProperties").filter(|limit| (map.len() as u64) < *limit) {
            self.invalid(path, &map.len().to_string(), &format!("should have at least {limit} properties"));
        }
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = name.as_str()
                && !map.contains_key(name)
            {
                let mut missing = path.clone();
                missing.push(Segment::Field(name.to_owned()));
                self.errors.push(FieldError::required(missing, ""));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let additional = schema.get("additionalProperties").filter(|a| a.is_object());
        for (name, child) in map {
            if let Some(known) = properties.and_then(|p| p.get(name)).or(additional) {
                path.push(Segment::Field(name.clone()));
                self.check(known, child, path);
                path.pop();
            }
        }
    }

    fn combinations(&mut self, schema: &Value, value: &Value, path: &mut Vec<Segment>) {
        let branches = |keyword: &str| schema.get(keyword).and_then(Value::as_array);
        let count = |list: &Vec<Value>, path: &[Segment]| list.iter().filter(|s| self.fits(s, value, path)).count();
        let mut found = Vec::new();
        if branches("anyOf").is_some_and(|list| count(list, path) == 0) {
            found.push("must validate at least one schema (anyOf)".to_owned());
        }
        if let Some(list) = branches("oneOf") {
            match count(list, path) {
                1 => {}
                0 => found.push("must validate one and only one schema (oneOf). Found none valid".to_owned()),
                n => found.push(format!("must validate one and only one schema (oneOf). Found {n} valid alternatives")),
            }
        }
        if schema.get("not").is_some_and(|not| self.fits(not, value, path)) {
            found.push("must not validate the schema (not)".to_owned());
        }
        for text in found {
            let detail = format!("\"{}\" {text}", field(path));
            self.errors.push(FieldError::invalid(path.clone(), &shown(value), &detail));
        }
        // Each branch of allOf is simply more of the same schema.
        for branch in branches("allOf").into_iter().flatten() {
            self.check(branch, value, path);
        }
    }

    fn fits(&self, schema: &Value, value: &Value, path: &[Segment]) -> bool {
        let mut trial = Walk { schema: self.schema, errors: Vec::new() };
        trial.check(schema, value, &mut path.to_vec());
        trial.errors.is_empty()
    }
}

fn field(path: &[Segment]) -> String {
    FieldError { path: path.to_vec(), cause: "", message: String::new() }.field()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => format!("\"{}\"", type_name(value)),
        other => other.to_string(),
    }
}

fn number(schema: &Value, keyword: &str) -> Option<u64> {
    schema.get(keyword).and_then(Value::as_u64)
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|f| f.fract() == 0.0)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_integer(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
