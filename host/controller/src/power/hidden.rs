//! Values that must not be seen: what they are made of, and a text without them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands in the place of a hidden value.
const MASK: &str = "***";
/// Longest text of a device that is shown to people, in bytes.
const SHOWN: usize = 256;

/// A value that no log, status or event may show. There is no `Display`, and `Debug` says nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(String);

impl Hidden {
    /// Hides it.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that hands it to a device.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Takes hidden values out of what a program said.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first: a value may be part of another one.
    hidden: Vec<String>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("values", &self.hidden.len()).finish()
    }
}

impl Redactor {
    /// For these values, in the forms in which programs repeat them.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        // One or two characters tell nobody anything, and are part of every other word.
        let values: Vec<&str> = values.into_iter().filter(|value| value.chars().count() > 2).collect();
        let mut hidden: Vec<String> = Vec::new();
        for value in &values {
            hidden.push((*value).to_owned());
            hidden.push(percent(value));
            hidden.push(STANDARD.encode(value));
            // A JSON string without its quotes.
            let json = serde_json::Value::from(*value).to_string();
            hidden.extend(json.get(1..json.len() - 1).map(str::to_owned));
            // As basic authentication puts a user and a password together.
            hidden.extend(values.iter().map(|user| STANDARD.encode(format!("{user}:{value}"))));
        }
        hidden.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        hidden.dedup();
        Self { hidden }
    }

    /// The text without them.
    pub fn clean(&self, text: &str) -> String {
        self.hidden.iter().fold(text.to_owned(), |text, value| text.replace(value, MASK))
    }

    /// The last line that says something, without hidden values, control characters and more than people read.
    pub fn last_line(&self, text: &str) -> String {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let clean: String = self.clean(line).chars().filter(|character| !character.is_control()).collect();
        let mut end = clean.len().min(SHOWN);
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        clean[..end].to_owned()
    }
}

fn percent(value: &str) -> String {
    use std::fmt::Write as _;
    value.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b2_9_no_form_of_a_password_survives() {
        let redactor = Redactor::new(["admin", "p@ss \"word\""]);
        for form in ["p@ss \"word\"", "p%40ss%20%22word%22", "cEBzcyAid29yZCI=", "p@ss \\\"word\\\""] {
            assert_eq!(redactor.clean(&format!("before {form} after")), "before *** after");
        }
        let basic = STANDARD.encode("admin:p@ss \"word\"");
        assert_eq!(redactor.clean(&format!("Authorization: Basic {basic}")), "Authorization: Basic ***");
        assert_eq!(format!("{:?}", Hidden::new("p@ss")), "***");
        assert!(!format!("{redactor:?}").contains("p@ss"));
    }

    #[test]
    fn the_last_line_is_short_and_plain() {
        let redactor = Redactor::new(["secret"]);
        assert_eq!(redactor.last_line("first\n  it was \u{7}secret \n\n"), "it was ***");
        assert_eq!(redactor.last_line(&"ä".repeat(300)).len(), 256);
        assert_eq!(redactor.last_line(""), "");
    }
}
