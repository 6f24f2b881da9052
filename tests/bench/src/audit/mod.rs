//! Questions to the audit log of a real API server: who wrote what, in which order, how many requests.
//!
//! The control plane writes the line of a request before it answers, so what a client has seen is in the log.

mod entry;
mod query;
mod table;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context;

pub use entry::{Entry, Stage};
pub use query::Query;
pub use table::Table;

/// A place in the log: everything before it happened before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Mark(u64);

/// An audit log that is being written.
#[derive(Debug, Clone)]
pub struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    /// The log in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The end of the log as it is now.
    pub fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark(std::fs::metadata(&self.path).with_context(|| self.path.display().to_string())?.len()))
    }

    /// What was logged after the mark.
    pub fn since(&self, mark: Mark) -> anyhow::Result<Query> {
        let place = || self.path.display().to_string();
        let mut file = File::open(&self.path).with_context(place)?;
        file.seek(SeekFrom::Start(mark.0)).with_context(place)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(place)?;
        parse(&bytes).with_context(place)
    }

    /// Everything in it.
    pub fn all(&self) -> anyhow::Result<Query> {
        self.since(Mark::default())
    }
}

/// A mark may lie in the middle of a line, and the last line may still be written: both are left out.
fn parse(bytes: &[u8]) -> anyhow::Result<Query> {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut entries = Vec::new();
    for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).enumerate() {
        match serde_json::from_slice::<Entry>(line) {
            Ok(entry) => entries.push(entry),
            Err(_) if index == 0 && !line.starts_with(b"{\"kind\":\"Event\"") => {}
            Err(error) => {
                let start = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
                return Err(error).with_context(|| format!("a line is no audit event: {start}"));
            }
        }
    }
    Ok(Query::new(entries))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn line(user: &str, agent: &str, verb: &str, resource: &str, name: &str, code: u16) -> String {
        // A watch counts when it begins, any other request when it was answered.
        let stage = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        format!(
            r#"{{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"x","stage":"{stage}","requestURI":"/x","verb":"{verb}","user":{{"username":"{user}"}},"userAgent":"{agent}","objectRef":{{"resource":"{resource}","name":"{name}","apiGroup":"test.example"}},"responseStatus":{{"metadata":{{}},"code":{code}}},"requestReceivedTimestamp":"2026-01-01T00:00:00.000000Z","stageTimestamp":"2026-01-01T00:00:00.250000Z"}}"#
        ) + "\n"
    }

    #[test]
    fn a_log_is_read_from_a_mark_on_and_an_unfinished_line_waits() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(line("a", "x/1", "create", "foos", "one", 201).as_bytes()).unwrap();
        let log = AuditLog::new(file.path());
        let mark = log.mark().unwrap();
        let second = line("b", "y/1", "delete", "foos", "one", 200);
        file.write_all(&second.as_bytes()[..40]).unwrap();
        assert_eq!(log.since(mark).unwrap().count(), 0);
        file.write_all(&second.as_bytes()[40..]).unwrap();
        let after = log.since(mark).unwrap();
        assert_eq!(after.entries()[0].user.username, "b");
        assert_eq!(log.all().unwrap().count(), 2);
    }

    #[test]
    fn a_line_that_is_no_event_is_an_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(line("a", "x/1", "create", "foos", "one", 201).as_bytes()).unwrap();
        file.write_all(b"{\"kind\":\"Event\"}\n").unwrap();
        let error = format!("{:#}", AuditLog::new(file.path()).all().unwrap_err());
        assert!(error.contains("no audit event"), "{error}");
    }

    #[test]
    fn questions_narrow_what_is_looked_at() {
        let text = [
            line("system:serviceaccount:s:c", "palisade-controller/1 (a)", "create", "foos", "one", 201),
            line("system:serviceaccount:s:c", "palisade-controller/1 (b)", "create", "foos", "one", 409),
            line("system:serviceaccount:s:c", "palisade-controller/1 (b)", "watch", "nodes", "", 200),
            line("admin", "kubectl/1", "delete", "foos", "one", 200),
        ]
        .concat();
        let all = parse(text.as_bytes()).unwrap();
        let ours = all.by_user("system:serviceaccount:s:c");
        assert_eq!(ours.count(), 3);
        assert_eq!(ours.verb("create").succeeded().count(), 1);
        assert_eq!(ours.by_agent("(b)").except_verb("watch").count(), 1);
        assert_eq!(all.resource("test.example", "foos").writes().count(), 3);
        all.in_order(&[("the creation", &|e| e.verb == "create"), ("the deletion", &|e| e.verb == "delete")]).unwrap();
        let wrong = all.in_order(&[("deletion", &|e| e.verb == "delete"), ("creation", &|e| e.verb == "create")]);
        assert!(wrong.unwrap_err().to_string().contains("creation"));
    }
}
