//! The part of `JSONPath` that printer columns use: fields, indexes, `[*]`, and `[?(@.field=="value")]`.

use serde_json::Value;

/// The first value at the path.
pub fn first<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    let mut found = vec![root];
    let mut rest = path.trim().trim_start_matches('{').trim_end_matches('}').trim_start_matches('$');
    while !rest.is_empty() {
        let (next, tail) = if let Some(inner) = rest.strip_prefix('[') {
            let end = closing(inner)?;
            let (inside, tail) = inner.split_at(end);
            (select(&found, inside)?, tail.get(1..).unwrap_or(""))
        } else {
            let (name, tail) = field_name(rest.strip_prefix('.').unwrap_or(rest));
            (found.iter().filter_map(|value| value.get(&name)).collect(), tail)
        };
        found = next;
        rest = tail;
    }
    found.first().copied()
}

/// The end of a bracket, which may contain quoted brackets.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, ']') => return Some(index),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

/// A field name, in which a dot may be escaped.
fn field_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut characters = text.char_indices();
    while let Some((index, c)) = characters.next() {
        match c {
            '\\' => name.extend(characters.next().map(|(_, escaped)| escaped)),
            '.' | '[' => return (name, text.get(index..).unwrap_or("")),
            _ => name.push(c),
        }
    }
    (name, "")
}

fn select<'a>(found: &[&'a Value], inside: &str) -> Option<Vec<&'a Value>> {
    let items = || found.iter().filter_map(|value| value.as_array()).flatten();
    if inside == "*" {
        return Some(items().collect());
    }
    if let Ok(index) = inside.parse::<usize>() {
        return Some(found.iter().filter_map(|value| value.get(index)).collect());
    }
    if let Some(condition) = inside.strip_prefix("?(").and_then(|c| c.strip_suffix(')')) {
        let (left, right) = condition.split_once("==")?;
        let field = left.trim().strip_prefix('@')?;
        let wanted = right.trim().trim_matches(['"', '\'']);
        let matches = |item: &&Value| match first(item, field) {
            Some(Value::String(text)) => text == wanted,
            Some(other) => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *other),
            None => false,
        };
        return Some(items().filter(matches).collect());
    }
    let name = inside.trim_matches(['"', '\'']);
    Some(found.iter().filter_map(|value| value.get(name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_find_fields_list_items_and_conditions() {
        let object = json!({
            "metadata": {"annotations": {"a.b/c": "x"}},
            "spec": {"list": [{"n": 1}, {"n": 2}]},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]},
        });
        for (path, value) in [
            (r".metadata.annotations.a\.b/c", json!("x")),
            (".metadata.annotations['a.b/c']", json!("x")),
            (".spec.list[1].n", json!(2)),
            (".spec.list[*].n", json!(1)),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!("True")),
            (".status.conditions[?(@.type=='A')].status", json!("False")),
        ] {
            assert_eq!(first(&object, path), Some(&value), "{path}");
        }
        assert_eq!(first(&object, ".spec.none.deeper"), None);
    }
}
