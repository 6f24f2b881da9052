//! Every `palisade` command that a page of this repository shows exists, with its options.

use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};

/// Commands in running text and in blocks of a shell.
fn commands(text: &str) -> Vec<String> {
    let (mut found, mut shell) = (Vec::new(), false);
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            shell = ["sh", "console", "bash"].contains(&language);
        } else if shell {
            let line = line.trim_start().trim_start_matches("$ ");
            found.extend(line.starts_with("palisade ").then(|| line.to_owned()));
        } else {
            // Every second piece is between backquotes.
            let quoted = line.split('`').skip(1).step_by(2);
            found.extend(quoted.filter(|piece| piece.starts_with("palisade ")).map(str::to_owned));
        }
    }
    found
}

fn check(root: &Command, text: &str) -> Result<(), String> {
    let text = text.split(['#', '>', ';', '&']).next().unwrap_or_default();
    let mut words = text.split_whitespace().skip(1).peekable();
    let mut command = root;
    // `approve|deny` stands for both.
    while let Some(both) = words.peek() {
        let found: Vec<_> = both.split('|').map(|word| command.find_subcommand(word)).collect();
        let Some(Some(first)) = found.first() else { break };
        if found.iter().any(Option::is_none) {
            return Err(format!("{both} are not all commands"));
        }
        (command, _) = (*first, words.next());
    }
    if command.has_subcommands() && std::ptr::eq(command, root) {
        return Err("there is no such command".to_owned());
    }
    for word in words.filter_map(|word| word.trim_matches(['[', ']', '.', ',']).strip_prefix("--")) {
        let name = word.split('=').next().unwrap_or(word);
        if !name.is_empty() && !command.get_arguments().any(|argument| argument.get_long() == Some(name)) {
            return Err(format!("{} has no option --{name}", command.get_name()));
        }
    }
    Ok(())
}

fn pages(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

#[test]
fn every_command_of_the_pages_exists() {
    // Cargo sets it for tests; the place at which the test was compiled may be gone.
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let mut found: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md"].map(|page| root.join(page)).into();
    for folder in ["deploy", "guest-sdk"] {
        pages(&root.join(folder), &mut found);
    }
    let mut program = crate::Cli::command();
    program.build();
    let (mut count, mut wrong) = (0, Vec::new());
    for page in found {
        for command in commands(&std::fs::read_to_string(&page).unwrap()) {
            count += 1;
            if let Err(why) = check(&program, &command) {
                wrong.push(format!("{}: {command}: {why}", page.file_name().unwrap().display()));
            }
        }
    }
    assert!(count > 30, "only {count} commands were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_does_not_exist_is_found() {
    let mut program = crate::Cli::command();
    program.build();
    let text = "Run `palisade explian x`.\n```sh\npalisade explain x --no-such\npalisade explain x --output json # fine\n```\n";
    let wrong: Vec<_> = commands(text).iter().map(|command| check(&program, command).is_err()).collect();
    assert_eq!(wrong, [true, true, false]);
}
