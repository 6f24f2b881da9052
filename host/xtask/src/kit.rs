//! The kit chapter of guest-sdk/README.md, carried out as a newcomer would: every command and every edit, in an empty
//! folder.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

use crate::workspace::Workspace;
use crate::{build, guests, shell};

/// Heading of the chapter.
const CHAPTER: &str = "## From an empty folder";
/// Commands and lines that a newcomer may have to type.
const TYPED: usize = 25;

#[derive(Debug, PartialEq)]
enum Step {
    Command(String),
    Edit { file: String, place: Place, lines: Vec<String> },
}

#[derive(Debug, Clone, PartialEq)]
enum Place {
    Above(String),
    InsteadOf(String),
    End,
}

/// Carries the chapter out.
pub fn run(workspace: &Workspace) -> anyhow::Result<()> {
    guests::build(workspace)?;
    build::programs(workspace)?;
    let readme = workspace.root.join("guest-sdk/README.md");
    let text = std::fs::read_to_string(&readme).with_context(|| readme.display().to_string())?;
    let steps = steps(&text)?;
    let typed: usize = steps
        .iter()
        .map(|step| match step {
            Step::Command(_) => 1,
            Step::Edit { lines, .. } => lines.len(),
        })
        .sum();
    anyhow::ensure!(typed <= TYPED, "{} makes newcomers type {typed} lines, more than {TYPED}", readme.display());
    let folder = workspace.target.join("kit");
    empty(&folder).with_context(|| folder.display().to_string())?;
    let started = Instant::now();
    carry_out(workspace, &folder, &steps)?;
    eprintln!("    the kit chapter: {typed} commands and lines, {:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Everything but what was compiled last time.
fn empty(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// One shell from beginning to end would hide which command failed: only its folder goes on.
fn carry_out(workspace: &Workspace, folder: &Path, steps: &[Step]) -> anyhow::Result<()> {
    let programs = workspace.target.join("debug");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut here = folder.to_path_buf();
    for step in steps {
        match step {
            Step::Command(line) => {
                if let Some(name) = line.strip_prefix("cd ") {
                    here = here.join(name.trim());
                    continue;
                }
                let mut command = Command::new("bash");
                command
                    .args(["-euo", "pipefail", "-c", line])
                    .env("PATH", format!("{}:{path}", programs.display()))
                    .env("PALISADE_REMEDIATORS", workspace.guests())
                    // A newcomer's project has its own target folder.
                    .env("CARGO_TARGET_DIR", folder.join("target"))
                    .current_dir(&here);
                shell::step(&format!("$ {line}"), &mut command)?;
            }
            Step::Edit { file, place, lines } => edit(&here.join(file), place, lines)?,
        }
    }
    Ok(())
}

fn edit(file: &Path, place: &Place, lines: &[String]) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let mut all: Vec<&str> = text.lines().collect();
    let find = |wanted: &str| {
        all.iter().position(|line| line.contains(wanted)).with_context(|| format!("{}: no {wanted:?}", file.display()))
    };
    let (at, skip) = match place {
        Place::Above(wanted) => (find(wanted)?, 0),
        Place::InsteadOf(wanted) => (find(wanted)?, 1),
        Place::End => (all.len(), 0),
    };
    all.splice(at..at + skip, lines.iter().map(String::as_str));
    std::fs::write(file, all.join("\n") + "\n").with_context(|| file.display().to_string())
}

/// Commands are the lines of `console` blocks after `$ `. An edit is announced by a line like
/// "In `src/lib.rs`, above `match`:" and is the block that follows.
fn steps(readme: &str) -> anyhow::Result<Vec<Step>> {
    let start = readme.find(CHAPTER).with_context(|| format!("guest-sdk/README.md has no chapter {CHAPTER:?}"))?;
    let chapter = &readme[start + CHAPTER.len()..];
    let chapter = chapter.split("\n## ").next().unwrap_or(chapter);
    let mut steps = Vec::new();
    let mut announced: Option<(String, Place)> = None;
    let mut lines = chapter.lines();
    while let Some(line) = lines.next() {
        if let Some(kind) = line.strip_prefix("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            if kind == "console" {
                let commands = block.iter().filter_map(|line| line.strip_prefix("$ "));
                steps.extend(commands.map(|command| Step::Command(command.to_owned())));
            } else if let Some((file, place)) = announced.take() {
                steps.push(Step::Edit { file, place, lines: block.iter().map(|line| (*line).to_owned()).collect() });
            }
        } else if line.starts_with("In `") {
            announced = Some(announcement(line).with_context(|| format!("which edit does {line:?} announce?"))?);
        }
    }
    anyhow::ensure!(!steps.is_empty(), "the chapter {CHAPTER:?} has no commands");
    Ok(steps)
}

fn announcement(line: &str) -> Option<(String, Place)> {
    let mut parts = line.split('`');
    let (file, word) = (parts.nth(1)?, parts.next()?.trim_matches([',', ' ', ':']));
    let what = parts.next().map(str::to_owned);
    let place = match (word, what) {
        ("above", Some(what)) => Place::Above(what),
        ("instead of", Some(what)) => Place::InsteadOf(what),
        ("at the end", None) => Place::End,
        _ => return None,
    };
    Some((file.to_owned(), place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_edits_are_found() {
        let readme = "# x\n## From an empty folder\n```console\n$ one\nits output\n$ two\n```\n\
                      In `a.rs`, above `here`:\n```rust\nnew\n```\nIn `b`, at the end:\n```yaml\nlast\n```\n## next\n```console\n$ no\n```\n";
        let steps = steps(readme).unwrap();
        let edit = |file: &str, place, line: &str| Step::Edit { file: file.into(), place, lines: vec![line.into()] };
        assert_eq!(
            steps,
            [
                Step::Command("one".into()),
                Step::Command("two".into()),
                edit("a.rs", Place::Above("here".into()), "new"),
                edit("b", Place::End, "last"),
            ]
        );
    }
}
