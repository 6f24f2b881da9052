//! Words, times and columns for people.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context;
use jiff::Timestamp;

/// How it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// Colours on a terminal that wants them.
    pub fn of_stdout() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colour: wanted && !dumb && io::stdout().is_terminal() }
    }

    /// Without any.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { colour: false }
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// A heading.
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What somebody has to look at.
    pub fn bad(self, text: &str) -> String {
        self.paint("31", text)
    }

    /// What is under way.
    pub fn busy(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// What is as it should be.
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }
}

/// Everything at once, so that nothing is cut in the middle.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(clean(text).as_bytes())?;
    out.flush()
}

/// The same; whoever reads may stop reading: `palisade status | head -1`.
pub fn show(text: &str) -> anyhow::Result<()> {
    match print(text) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.context("standard output"),
    }
}

/// Names and messages come from others: what would move the cursor is shown, not obeyed. Our own colours stay.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t' | '\u{1b}') { '\u{fffd}' } else { c }).collect()
}

/// A text of somebody else, without escapes.
pub fn foreign(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

/// `3 min ago (20:41:05 UTC)`, `in 12 s (…)`.
pub fn when(instant: Timestamp, now: Timestamp) -> String {
    let seconds = instant.as_second() - now.as_second();
    let clock = instant.strftime("%Y-%m-%d %H:%M:%SZ");
    match seconds {
        0 => format!("now ({clock})"),
        1.. => format!("in {} ({clock})", length(seconds.unsigned_abs())),
        _ => format!("{} ago ({clock})", length(seconds.unsigned_abs())),
    }
}

/// A length in its largest units.
pub fn length(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Columns as wide as what is in them; the last one is not filled up.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.push_str(&" ".repeat(width + 2 - cell.chars().count()));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_both_directions() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(when(at(1_000), at(1_000)), "now (1970-01-01 00:16:40Z)");
        assert_eq!(when(at(1_000), at(1_012)), "12 s ago (1970-01-01 00:16:40Z)");
        assert_eq!(when(at(1_200), at(1_000)), "in 3 min 20 s (1970-01-01 00:20:00Z)");
        assert_eq!(
            [length(119), length(7_199), length(7_200), length(200_000)],
            ["119 s", "119 min 59 s", "2 h 0 min", "2 d 7 h"]
        );
    }

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let rows = [vec!["A".to_owned(), "B".to_owned()], vec!["long".to_owned(), String::new()]];
        assert_eq!(table(&rows), "A     B\nlong\n");
    }

    #[test]
    fn what_others_wrote_cannot_drive_the_terminal() {
        assert_eq!(foreign("a\u{1b}[2Jb\r"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
