//! `palisade remediator …`: everything the author of a remediator does, without a cluster.
//!
//! Exit codes: 0 yes, 1 no (a test failed, a component was refused, a replay differs), 2 wrong usage, 3 it could not be
//! carried out (a tool is missing, a registry does not answer).

mod bench;
mod build;
mod compile;
mod component;
mod inspect;
mod new;
mod output;
mod project;
mod push;
mod rbac;
mod replay;
mod run;
mod suite;
mod test;
mod toolchain;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;
use tracing_subscriber::EnvFilter;

pub use compile::compiler;
pub use output::Output;

/// Subcommands of `palisade remediator`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Starts a remediator in a new folder.
    New(new::Arguments),
    /// Compiles the remediator of a folder into one component.
    Build(build::Arguments),
    /// Runs its tests: the language's own, and the behaviour that `tests/*.yaml` describe, in the runtime.
    Test(test::Arguments),
    /// Lets it handle a failing node in the embedded sandbox, and shows what happens.
    Run(run::Arguments),
    /// Compiles components into the cache of a controller, so that it finds them there.
    Compile(compile::Arguments),
    /// Reads what a component says about itself. Nothing of it is compiled or executed.
    Inspect(inspect::Arguments),
    /// Prints the roles without which the controller cannot serve a component, for what it is granted.
    Rbac(rbac::Arguments),
    /// Plays recorded calls again and compares everything: calls, answer, effects, fuel.
    Replay(replay::Arguments),
    /// Pushes a component to an OCI registry, signed if wanted.
    Push(push::Arguments),
    /// Measures what loading and one call cost.
    Bench(bench::Arguments),
}

/// Runs a subcommand.
pub fn run(command: Command) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,kube_client=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let (output, result) = match command {
        Command::New(arguments) => (arguments.output, new::run(&arguments)),
        Command::Build(arguments) => (arguments.output, build::run(&arguments)),
        Command::Test(arguments) => (arguments.output, test::run(&arguments)),
        Command::Run(arguments) => (arguments.output, run::run(&arguments)),
        Command::Compile(arguments) => (arguments.output, compile::run(&arguments)),
        Command::Inspect(arguments) => (arguments.output, inspect::run(&arguments)),
        Command::Rbac(arguments) => (arguments.output, rbac::run(&arguments)),
        Command::Replay(arguments) => (arguments.output, replay::run(&arguments)),
        Command::Push(arguments) => (arguments.output, push::run(&arguments)),
        Command::Bench(arguments) => (arguments.output, bench::run(&arguments)),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let refused = error.downcast_ref::<palisade_runtime::LoadError>().is_some();
            match output {
                Output::Text => eprintln!("palisade: {error:#}"),
                Output::Json => println!("{}", json!({ "error": format!("{error:#}"), "refused": refused })),
            }
            ExitCode::from(if refused { 1 } else { 3 })
        }
    }
}
