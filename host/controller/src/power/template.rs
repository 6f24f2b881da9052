//! The one placeholder that a parameter may hold: `{{.NodeName}}`, written as a Go template.

/// The text with the node's name in the place of every placeholder; `Err` says what is not understood, without the text.
pub fn render(text: &str, node: &str) -> Result<String, String> {
    let mut rendered = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let Some(length) = rest[start + 2..].find("}}") else {
            return Err("it opens a placeholder with {{ and does not close it; only {{.NodeName}} is known".to_owned());
        };
        let inner = &rest[start + 2..start + 2 + length];
        let before = &rest[..start];
        // A dash at the edge of an action trims the blanks beside it, as in Go.
        let (inner, left) = inner.strip_prefix("- ").map_or((inner, false), |inner| (inner, true));
        let (inner, right) = inner.strip_suffix(" -").map_or((inner, false), |inner| (inner, true));
        if inner.trim() != ".NodeName" {
            return Err("it holds a placeholder other than {{.NodeName}}".to_owned());
        }
        rendered.push_str(if left { before.trim_end() } else { before });
        rendered.push_str(node);
        rest = &rest[start + 2 + length + 2..];
        if right {
            rest = rest.trim_start();
        }
    }
    rendered.push_str(rest);
    Ok(rendered)
}

/// Whether the text differs from node to node.
pub fn tells_apart(text: &str) -> bool {
    render(text, "a").is_ok_and(|rendered| render(text, "b").is_ok_and(|other| rendered != other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fa_08_the_name_of_the_node_is_put_in() {
        assert_eq!(render("{{.NodeName}}", "n1").unwrap(), "n1");
        assert_eq!(render("bmc-{{ .NodeName }}.example/{{.NodeName}}", "n1").unwrap(), "bmc-n1.example/n1");
        assert_eq!(render("a  {{- .NodeName -}}  b", "n1").unwrap(), "an1b");
        assert_eq!(render("plain } text", "n1").unwrap(), "plain } text");
    }

    #[test]
    fn anything_else_is_refused_and_not_shown() {
        for bad in ["{{.Secret}}", "{{.NodeName", "{{if .NodeName}}x{{end}}", "{{}}"] {
            let why = render(bad, "n1").unwrap_err();
            assert!(why.contains("{{.NodeName}}") && !why.contains("Secret"), "{why}");
        }
        assert!(tells_apart("x{{.NodeName}}") && !tells_apart("x") && !tells_apart("{{.X}}"));
    }
}
