//! The timeline: what happened, in the words of the spine, for people or as one JSON object per line.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;

/// The spine of a remediation, and what frames it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// Before the fault.
    Setup,
    /// The fault itself and its heal.
    Fault,
    /// What is observed of nodes.
    Watch,
    /// Verdicts about nodes.
    Judge,
    /// Marks and the fence intent.
    Intend,
    /// The node's end.
    Fence,
    /// The evidence.
    Prove,
    /// The workload moves.
    Release,
    /// The node comes back.
    Recover,
    /// Something that should not be.
    Wrong,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Word::Setup => "setup",
            Word::Fault => "fault",
            Word::Watch => "watch",
            Word::Judge => "judge",
            Word::Intend => "intend",
            Word::Fence => "fence",
            Word::Prove => "prove",
            Word::Release => "release",
            Word::Recover => "recover",
            Word::Wrong => "WRONG",
        }
    }

    fn colour(self) -> &'static str {
        match self {
            Word::Setup => "2",
            Word::Fault => "1;31",
            Word::Watch => "36",
            Word::Judge => "34",
            Word::Intend => "33",
            Word::Fence => "35",
            Word::Prove => "1;33",
            Word::Release => "1;32",
            Word::Recover => "32",
            Word::Wrong => "1;41",
        }
    }
}

/// One line.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Seconds since the fault; before it, since the start.
    pub seconds: f64,
    /// Stage of the spine.
    pub stage: Word,
    /// What happened.
    pub what: String,
    /// Why, or how it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How the timeline is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Lines for people, with colour or without.
    Text {
        /// Whether to use colour.
        colour: bool,
        /// Whether a progress line may be overwritten.
        live: bool,
    },
    /// One JSON object per line.
    Json,
    /// Nothing: only collected.
    Silent,
}

impl Style {
    /// For standard output: colour on a terminal unless `NO_COLOR` is set.
    pub fn of_stdout(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        let live = std::io::stdout().is_terminal();
        let colour = live && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::Text { colour, live }
    }

    /// Makes a piece of text stand out.
    pub fn bold(self, text: &str) -> String {
        match self {
            Self::Text { colour: true, .. } => format!("\x1b[1m{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

struct Inner {
    zero: Instant,
    entries: Vec<Entry>,
    progress: bool,
    /// Whether the fault has happened; all before is set-up.
    fault: bool,
}

/// The timeline of one scenario; clones share it.
#[derive(Clone)]
pub struct Timeline {
    style: Style,
    inner: Arc<Mutex<Inner>>,
}

impl Timeline {
    /// An empty timeline; its clock starts now.
    pub fn new(style: Style) -> Self {
        let inner = Inner { zero: Instant::now(), entries: Vec::new(), progress: false, fault: false };
        Self { style, inner: Arc::new(Mutex::new(inner)) }
    }

    /// How it is shown.
    pub fn style(&self) -> Style {
        self.style
    }

    fn with<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        act(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The clock starts again: from here on it counts from the fault.
    pub fn restart_clock(&self) {
        self.with(|inner| {
            inner.zero = Instant::now();
            inner.fault = true;
        });
    }

    /// Seconds on the timeline's clock.
    pub fn seconds(&self) -> f64 {
        self.with(|inner| inner.zero.elapsed().as_secs_f64())
    }

    /// Everything said so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.with(|inner| inner.entries.clone())
    }

    /// Adds a line.
    pub fn say(&self, stage: Word, what: impl Into<String>, why: Option<String>) {
        self.with(|inner| {
            let seconds = (inner.zero.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
            let stage = if inner.fault || stage == Word::Wrong { stage } else { Word::Setup };
            let entry = Entry { seconds, stage, what: what.into(), why };
            let mut out = std::io::stdout().lock();
            // A reader that went away is no reason to stop half-way.
            let _ = match self.style {
                Style::Text { colour, .. } => {
                    if std::mem::take(&mut inner.progress) {
                        let _ = write!(out, "\r\x1b[K");
                    }
                    writeln!(out, "{}", entry.line(colour))
                }
                Style::Json => serde_json::to_string(&entry).map_or(Ok(()), |line| writeln!(out, "{line}")),
                Style::Silent => Ok(()),
            };
            let _ = out.flush();
            inner.entries.push(entry);
        });
    }

    /// What is being waited for: one line that the next replaces, on a terminal only.
    pub fn progress(&self, waiting_for: &str) {
        if let Style::Text { colour, live: true } = self.style {
            self.with(|inner| {
                inner.progress = true;
                let mut out = std::io::stdout().lock();
                let seconds = inner.zero.elapsed().as_secs_f64();
                let (dim, plain) = if colour { ("\x1b[2m", "\x1b[0m") } else { ("", "") };
                let text: String = format!("{seconds:>+7.1}s …        {waiting_for}").chars().take(118).collect();
                let _ = write!(out, "\r\x1b[K{dim}{text}{plain}");
                let _ = out.flush();
            });
        }
    }

    /// A paragraph outside the timeline; not in JSON.
    pub fn print(&self, text: &str) {
        if let Style::Text { .. } = self.style {
            self.with(|inner| {
                if std::mem::take(&mut inner.progress) {
                    print!("\r\x1b[K");
                }
            });
            println!("{text}");
        }
    }
}

impl Entry {
    fn line(&self, colour: bool) -> String {
        let word = format!("{:<8}", self.stage.text());
        let why = self.why.as_deref().map(|why| format!(" ({})", abbreviate(why))).unwrap_or_default();
        if colour {
            let (start, end) = (self.stage.colour(), "\x1b[0m");
            format!("{:>+7.1}s \x1b[{start}m{word}{end} {}\x1b[2m{why}{end}", self.seconds, self.what)
        } else {
            format!("{:>+7.1}s {word} {}{why}", self.seconds, self.what)
        }
    }
}

/// Ids as 8-4-4-4-12 hexadecimal digits keep their first group: enough to tell them apart, and lines stay readable.
fn abbreviate(text: &str) -> String {
    let is_id = |word: &str| {
        word.len() == 36
            && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
            && word.matches('-').count() == 4
    };
    let edge = |c: char| !(c.is_ascii_alphanumeric() || c == '-');
    text.split_inclusive(edge)
        .map(|piece| {
            let word = piece.trim_end_matches(edge);
            if is_id(word) { format!("{}{}", &word[..8], &piece[word.len()..]) } else { piece.to_owned() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_when_which_stage_what_and_why() {
        let entry = Entry {
            seconds: 12.34,
            stage: Word::Prove,
            what: "node-2 is proven dead".into(),
            why: Some("LeaseExpired, Certain".into()),
        };
        assert_eq!(entry.line(false), "  +12.3s prove    node-2 is proven dead (LeaseExpired, Certain)");
    }

    #[test]
    fn ids_in_reasons_are_abbreviated() {
        let text =
            "intent 54516c8b-26a3-4225-b970-a89b21d47d71, for boot 4eb4fc91-578b-444a-aa40-390b262c73f7: LeaseExpired";
        assert_eq!(abbreviate(text), "intent 54516c8b, for boot 4eb4fc91: LeaseExpired");
    }

    #[test]
    fn json_entries_keep_their_names() {
        let timeline = Timeline::new(Style::Silent);
        timeline.restart_clock();
        timeline.say(Word::Watch, "node-2 is NotReady", None);
        let json = serde_json::to_value(&timeline.entries()[0]).unwrap();
        assert_eq!((json["stage"].as_str(), json["what"].as_str()), (Some("watch"), Some("node-2 is NotReady")));
    }
}
