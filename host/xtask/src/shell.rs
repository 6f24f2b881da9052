//! Running programs: say what and why, pass the output through, time it, fail with the command line.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Context;

/// A command in the workspace root.
pub fn command(root: &Path, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root);
    command
}

/// Runs a step that a person waits for: prints its purpose before and its time after.
pub fn step(purpose: &str, command: &mut Command) -> anyhow::Result<()> {
    eprintln!("==> {purpose}");
    let started = Instant::now();
    run(command)?;
    eprintln!("    {purpose}: {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// Runs a program to its end; a failure names the command line.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting {}", line(command)))?;
    anyhow::ensure!(status.success(), "{} ended with {status}", line(command));
    Ok(())
}

/// Runs a program and returns what it printed on standard output.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting {}", line(command)))?;
    anyhow::ensure!(
        output.status.success(),
        "{} ended with {}: {}",
        line(command),
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Replaces this process: the program gets the terminal, the signals and the exit code.
pub fn exec(command: &mut Command) -> anyhow::Error {
    use std::os::unix::process::CommandExt;
    let error = command.exec();
    anyhow::Error::new(error).context(format!("starting {}", line(command)))
}

fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
