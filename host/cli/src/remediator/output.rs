//! How results are shown.

use clap::ValueEnum;
use serde_json::Value;

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    Text,
    /// One JSON object on standard output.
    Json,
}

impl Output {
    /// Shows a result: the text, or the value.
    pub fn show(self, value: &Value, text: impl FnOnce() -> String) {
        match self {
            Self::Text => println!("{}", text().trim_end()),
            Self::Json => println!("{value}"),
        }
    }

    /// Says what is being done, to people only.
    pub fn say(self, what: &str) {
        if self == Self::Text {
            eprintln!("{what}");
        }
    }
}

/// A table of names and values, for people.
pub fn lines(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: Vec<String> = pairs.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect();
    lines.concat()
}
