//! Narrowing a part of an audit log down to what a question is about.

use jiff::Timestamp;

use super::entry::{Entry, Stage};
use super::table::Table;

/// A step of an order: what it is called, and which entry it is.
pub type OrderStep<'a> = (&'a str, &'a dyn Fn(&Entry) -> bool);

/// Requests, in the order of their answers.
#[derive(Debug, Clone, Default)]
pub struct Query {
    entries: Vec<Entry>,
}

impl Query {
    /// Of these; a watch counts once, when it begins.
    pub(crate) fn new(mut entries: Vec<Entry>) -> Self {
        entries.retain(|entry| match entry.stage {
            Stage::RequestReceived => false,
            Stage::ResponseStarted => true,
            // A watch that never began is a request that failed.
            Stage::ResponseComplete | Stage::Panic => entry.verb != "watch" || !entry.succeeded(),
        });
        Self { entries }
    }

    /// The requests.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Those for which this holds.
    #[must_use]
    pub fn filter(&self, holds: impl Fn(&Entry) -> bool) -> Self {
        Self { entries: self.entries.iter().filter(|entry| holds(entry)).cloned().collect() }
    }

    /// By this user.
    #[must_use]
    pub fn by_user(&self, user: &str) -> Self {
        self.filter(|entry| entry.user.username == user)
    }

    /// By programs whose user agent contains this.
    #[must_use]
    pub fn by_agent(&self, part: &str) -> Self {
        self.filter(|entry| entry.user_agent.contains(part))
    }

    /// With this verb.
    #[must_use]
    pub fn verb(&self, verb: &str) -> Self {
        self.filter(|entry| entry.verb == verb)
    }

    /// Without this verb.
    #[must_use]
    pub fn except_verb(&self, verb: &str) -> Self {
        self.filter(|entry| entry.verb != verb)
    }

    /// About objects of this resource, subresources included.
    #[must_use]
    pub fn resource(&self, group: &str, resource: &str) -> Self {
        self.filter(|entry| entry.object_ref.api_group == group && entry.object_ref.resource == resource)
    }

    /// About one object.
    #[must_use]
    pub fn object(&self, namespace: &str, name: &str) -> Self {
        self.filter(|entry| entry.object_ref.namespace == namespace && entry.object_ref.name == name)
    }

    /// Without what is about this object.
    #[must_use]
    pub fn except_object(&self, resource: &str, namespace: &str, name: &str) -> Self {
        self.filter(|entry| {
            let about = &entry.object_ref;
            !(about.resource == resource && about.namespace == namespace && about.name == name)
        })
    }

    /// What changed something, or tried to.
    #[must_use]
    pub fn writes(&self) -> Self {
        self.filter(Entry::is_write)
    }

    /// What was not refused.
    #[must_use]
    pub fn succeeded(&self) -> Self {
        self.filter(Entry::succeeded)
    }

    /// What was answered before.
    #[must_use]
    pub fn until(&self, instant: Timestamp) -> Self {
        self.filter(|entry| entry.reached <= instant)
    }

    /// What arrived at this instant or later.
    #[must_use]
    pub fn from(&self, instant: Timestamp) -> Self {
        self.filter(|entry| entry.received >= instant)
    }

    /// What is about the node of this name, as far as the log shows it: by name, by annotation, or in the text.
    #[must_use]
    pub fn about_node(&self, node: &str) -> Self {
        self.filter(|entry| {
            entry.object_ref.name == node
                || entry.request_object.pointer("/metadata/annotations/remediation.medik8s.io~1node-name")
                    == Some(&serde_json::Value::from(node))
                || entry.uri.contains(node)
        })
    }

    /// Whether entries like these exist in this order; the error names the first that is missing.
    pub fn in_order(&self, steps: &[OrderStep<'_>]) -> anyhow::Result<()> {
        let mut rest = self.entries.iter();
        let mut before = "the beginning";
        for (name, is_it) in steps {
            anyhow::ensure!(rest.any(is_it), "{name} does not follow {before}; there are:\n{}", self.lines(30));
            before = name;
        }
        Ok(())
    }

    /// Requests by program, verb and resource.
    pub fn table(&self) -> Table {
        Table::of(&self.entries)
    }

    /// One line for each of the first so many.
    pub fn lines(&self, limit: usize) -> String {
        let mut lines: Vec<String> = self.entries.iter().take(limit).map(Entry::line).collect();
        if self.count() > limit {
            lines.push(format!("... and {} more", self.count() - limit));
        }
        lines.join("\n")
    }
}
