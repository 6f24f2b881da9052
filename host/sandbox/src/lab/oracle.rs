//! The at-most-one oracle: every running workload stamps a file, and no two boots may ever do so at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::boot::Boot;

/// One line of a workload's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Namespace and name of the pod: the identity that must be unique.
    pub workload: String,
    /// UID of the pod.
    pub uid: String,
    /// Where it runs.
    pub node: String,
    /// Boot id of that node.
    pub boot: String,
    /// Milliseconds since the lab started.
    pub t: u64,
}

/// Two boots ran one workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{workload} ran twice: {earlier} was still alive {millis} ms into the lab although {later} had taken over")]
pub struct Violation {
    /// The workload.
    pub workload: String,
    /// Node and boot that should have been over.
    pub earlier: String,
    /// Node and boot that had taken over.
    pub later: String,
    /// When, in milliseconds since the lab started.
    pub millis: u64,
}

impl Violation {
    /// The first stamp of an overlap says it all; what follows from the same pair is the same violation.
    fn note(self, known: &mut Vec<Self>) {
        let same = |other: &Self| {
            (&other.workload, &other.earlier, &other.later) == (&self.workload, &self.earlier, &self.later)
        };
        if !known.iter().any(same) {
            known.push(self);
        }
    }
}

/// Judges the stamps of one workload in the order they were written.
#[derive(Debug, Default)]
pub struct Judge {
    current: Option<(String, String)>,
    over: BTreeSet<(String, String)>,
}

impl Judge {
    /// A boot that stamps again after another one did has overlapped with it.
    pub fn see(&mut self, stamp: &Stamp) -> Result<(), Violation> {
        let by = (stamp.node.clone(), stamp.boot.clone());
        match &self.current {
            Some(current) if *current == by => return Ok(()),
            Some(current) if self.over.contains(&by) => {
                return Err(Violation {
                    workload: stamp.workload.clone(),
                    earlier: format!("{} (boot {})", by.0, by.1),
                    later: format!("{} (boot {})", current.0, current.1),
                    millis: stamp.t,
                });
            }
            _ => {}
        }
        self.over.extend(self.current.replace(by));
        Ok(())
    }

    /// Every node and boot that stamped, the present one last.
    pub fn boots(&self) -> usize {
        self.over.len() + usize::from(self.current.is_some())
    }
}

/// One workload's file and what it tells so far.
struct Book {
    file: File,
    judge: Judge,
    /// Writers that were not stopped; those whose boot is over stay and do not count.
    open: BTreeMap<u64, Arc<Boot>>,
    /// The latest stamp.
    latest: Option<Stamp>,
}

#[derive(Default)]
struct Books {
    by_workload: BTreeMap<String, Book>,
    violations: Vec<Violation>,
    writers: u64,
}

/// All stamp files of a lab; clones share them.
#[derive(Clone)]
pub struct Ledger {
    dir: PathBuf,
    started: Instant,
    books: Arc<Mutex<Books>>,
}

/// What the whole run showed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    /// Stamps read back from the files.
    pub stamps: usize,
    /// Workloads that ran.
    pub workloads: usize,
    /// Most boots that one workload ran on, one after the other.
    pub boots: usize,
    /// Overlaps, empty if the promise was kept.
    pub violations: Vec<Violation>,
}

impl Ledger {
    /// Keeps one file per workload in `dir`.
    pub fn new(dir: PathBuf) -> io::Result<Self> {
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, started: Instant::now(), books: Arc::default() })
    }

    fn with<R>(&self, act: impl FnOnce(&mut Books) -> R) -> R {
        act(&mut self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Milliseconds since the lab started.
    pub fn now(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// A writer of `workload` starts on `boot`: nobody else's may be running at this instant.
    pub fn open(&self, workload: &str, boot: &Arc<Boot>) -> io::Result<u64> {
        let file = self.dir.join(format!("{}.jsonl", workload.replace('/', "_")));
        let file = OpenOptions::new().create(true).append(true).open(file)?;
        let now = self.now();
        let (number, others) = self.with(|books| {
            books.writers += 1;
            let number = books.writers;
            let entry = books.by_workload.entry(workload.to_owned()).or_insert_with(|| Book {
                file,
                judge: Judge::default(),
                open: BTreeMap::new(),
                latest: None,
            });
            let others: Vec<_> = entry.open.values().filter(|other| other.id != boot.id).cloned().collect();
            entry.open.insert(number, Arc::clone(boot));
            (number, others)
        });
        // Outside the lock: a stamp holds its boot first and the books second.
        for other in others.iter().filter(|other| other.is_alive()) {
            let violation = Violation {
                workload: workload.to_owned(),
                earlier: format!("{} (boot {})", other.node, other.id),
                later: format!("{} (boot {})", boot.node, boot.id),
                millis: now,
            };
            self.with(|books| violation.note(&mut books.violations));
        }
        Ok(number)
    }

    /// The kubelet stopped a writer.
    pub fn close(&self, workload: &str, writer: u64) {
        self.with(|books| books.by_workload.get_mut(workload).map(|book| book.open.remove(&writer)));
    }

    /// Appends one line; the caller holds the boot alive meanwhile.
    pub fn stamp(&self, workload: &str, uid: &str, boot: &Boot) -> io::Result<()> {
        let stamp = Stamp {
            workload: workload.to_owned(),
            uid: uid.to_owned(),
            node: boot.node.clone(),
            boot: boot.id.clone(),
            t: self.now(),
        };
        let mut line = serde_json::to_vec(&stamp)?;
        line.push(b'\n');
        self.with(|books| {
            let Some(entry) = books.by_workload.get_mut(workload) else { return Ok(()) };
            entry.file.write_all(&line)?;
            if let Err(violation) = entry.judge.see(&stamp) {
                violation.note(&mut books.violations);
            }
            entry.latest = Some(stamp);
            Ok(())
        })
    }

    /// The latest stamp of each workload.
    pub fn latest(&self) -> BTreeMap<String, Stamp> {
        self.with(|books| {
            let stamps = books.by_workload.iter();
            stamps.filter_map(|(name, book)| book.latest.clone().map(|stamp| (name.clone(), stamp))).collect()
        })
    }

    /// Overlaps seen so far.
    pub fn violations(&self) -> Vec<Violation> {
        self.with(|books| books.violations.clone())
    }

    /// Judges the files themselves, and adds what was seen live.
    pub fn verdict(&self) -> io::Result<Verdict> {
        let mut verdict = Verdict { violations: self.violations(), ..Verdict::default() };
        for entry in std::fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let (stamps, judge, violations) = judge_file(&path)?;
            verdict.stamps += stamps;
            verdict.workloads += 1;
            verdict.boots = verdict.boots.max(judge.boots());
            for violation in violations {
                violation.note(&mut verdict.violations);
            }
        }
        Ok(verdict)
    }
}

fn judge_file(path: &Path) -> io::Result<(usize, Judge, Vec<Violation>)> {
    let mut judge = Judge::default();
    let mut violations = Vec::new();
    let mut stamps = 0;
    for line in BufReader::new(File::open(path)?).lines() {
        let stamp: Stamp = serde_json::from_str(&line?)?;
        stamps += 1;
        violations.extend(judge.see(&stamp).err());
    }
    Ok((stamps, judge, violations))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(boot: &str, t: u64) -> Stamp {
        Stamp { workload: "w/p-0".into(), uid: "u".into(), node: format!("node-of-{boot}"), boot: boot.into(), t }
    }

    #[test]
    fn one_boot_after_the_other_is_fine() {
        let mut judge = Judge::default();
        for (t, boot) in ["a", "a", "b", "b", "c"].iter().enumerate() {
            judge.see(&stamp(boot, t as u64)).unwrap();
        }
        assert_eq!(judge.boots(), 3);
    }

    #[test]
    fn a_late_stamp_of_an_earlier_boot_is_a_violation() {
        let mut judge = Judge::default();
        judge.see(&stamp("a", 1)).unwrap();
        judge.see(&stamp("b", 2)).unwrap();
        let violation = judge.see(&stamp("a", 3)).unwrap_err();
        assert_eq!((violation.millis, violation.later.as_str()), (3, "node-of-b (boot b)"));
    }

    #[test]
    fn a_start_beside_a_living_boot_is_a_violation_before_any_stamp() {
        // Given a workload that runs on boot a
        let dir = std::env::temp_dir().join(format!("palisade-ledger-{}", uuid::Uuid::new_v4()));
        let ledger = Ledger::new(dir.clone()).unwrap();
        let (a, b) = (Boot::new("n1", "a"), Boot::new("n2", "b"));
        ledger.open("w/p-0", &a).unwrap();
        // When it starts on boot b, then that is noticed at once
        ledger.open("w/p-0", &b).unwrap();
        assert_eq!(ledger.violations().len(), 1);
        // And a third start after both have ended is fine
        a.end();
        b.end();
        ledger.open("w/p-0", &Boot::new("n3", "c")).unwrap();
        assert_eq!(ledger.verdict().unwrap().violations.len(), 1);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
