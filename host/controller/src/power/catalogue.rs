//! Which fence agents may be run: programs of the administrator's folders, by name.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::fault::Fault;

/// Longest name of an agent. The longest one of Debian has 19 characters.
const LONGEST: usize = 64;

/// Folders, and optionally the only names that count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Where agents lie.
    pub folders: Vec<PathBuf>,
    /// If not empty: no others.
    pub only: BTreeSet<String>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self { folders: vec![PathBuf::from("/usr/sbin")], only: BTreeSet::new() }
    }
}

impl Catalogue {
    /// The program of an agent. Nothing outside of the folders is ever run, also not by a link.
    pub fn find(&self, agent: &str) -> Result<PathBuf, Fault> {
        let refused = |why: String| Err(Fault::Invalid(format!("spec.agent {agent:?} {why}")));
        let named = agent.strip_prefix("fence_").is_some_and(|rest| !rest.is_empty());
        let odd = |character: char| !(character.is_ascii_alphanumeric() || character == '_' || character == '-');
        if !named || agent.len() > LONGEST || agent.contains(odd) {
            return refused("is no name of a fence agent; use one such as fence_ipmilan, without a path".to_owned());
        }
        if !self.only.is_empty() && !self.only.contains(agent) {
            let allowed: Vec<&str> = self.only.iter().map(String::as_str).collect();
            return refused(format!(
                "is not one that the administrator allows (--fence-agent); allowed are {}",
                allowed.join(", ")
            ));
        }
        for folder in &self.folders {
            let Ok(real) = folder.join(agent).canonicalize() else { continue };
            if !folder.canonicalize().is_ok_and(|folder| real.parent() == Some(folder.as_path())) {
                return refused(format!("is a link that leads out of {}; install the agent itself", folder.display()));
            }
            return match executable(&real) {
                // The name it is called by: one program is several agents by its links.
                Ok(()) => Ok(folder.join(agent)),
                Err(why) => refused(format!("{why}: {}", real.display())),
            };
        }
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        refused(format!(
            "does not exist in {}; install it into the controller's image, or correct the name",
            folders.join(", ")
        ))
    }
}

fn executable(path: &Path) -> Result<(), &'static str> {
    let metadata = path.metadata().map_err(|_| "cannot be read")?;
    let mode = metadata.permissions().mode();
    if !metadata.is_file() {
        Err("is no file")
    } else if mode & 0o111 == 0 {
        Err("is not executable")
    } else if mode & 0o002 != 0 {
        Err("may be changed by everybody, so it is not run")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path, mode: u32) {
        std::fs::write(path, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    fn why(catalogue: &Catalogue, agent: &str) -> String {
        catalogue.find(agent).unwrap_err().to_string()
    }

    #[test]
    fn fa_14_only_agents_of_the_folder_are_run() {
        let outside = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        file(&at.join("fence_good"), 0o755);
        file(&at.join("fence_plain"), 0o644);
        file(&at.join("fence_open"), 0o757);
        file(&at.join("other"), 0o755);
        file(&outside.path().join("fence_evil"), 0o755);
        std::os::unix::fs::symlink("fence_good", at.join("fence_alias")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("fence_evil"), at.join("fence_evil")).unwrap();
        let mut catalogue = Catalogue { folders: vec![at.to_owned()], only: BTreeSet::new() };

        assert_eq!(catalogue.find("fence_good").unwrap(), at.join("fence_good"));
        assert_eq!(catalogue.find("fence_alias").unwrap(), at.join("fence_alias"));
        for name in ["other", "fence_", "fence_../other", "fence_a/b", "/bin/sh", "fence_a b", ""] {
            assert!(why(&catalogue, name).contains("no name of a fence agent"), "{name}");
        }
        assert!(why(&catalogue, "fence_missing").contains("does not exist in"));
        assert!(why(&catalogue, "fence_plain").contains("not executable"));
        assert!(why(&catalogue, "fence_open").contains("changed by everybody"));
        assert!(why(&catalogue, "fence_evil").contains("leads out of"));

        catalogue.only.insert("fence_alias".to_owned());
        assert!(catalogue.find("fence_alias").is_ok());
        assert!(why(&catalogue, "fence_good").contains("allowed are fence_alias"));
    }
}
