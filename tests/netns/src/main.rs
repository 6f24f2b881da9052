//! `palisade-netns`: the demonstration's scenarios and more with every agent and the controller in a network namespace
//! of its own, against the real control plane. Needs root and `/dev/net/tun`.

mod hub;
mod wiring;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use palisade_sandbox::demo::{self, BackendKind, Matrix, Scenario};
use palisade_sandbox::lab::fault::Fault;
use palisade_sandbox::lab::wiring::Wiring;
use palisade_sandbox::program::{self, PartArguments};

use wiring::{Family, Namespaces};

/// Agents and controller in network namespaces, on a network that loses what the scenario says.
#[derive(Debug, Parser)]
struct Arguments {
    /// sandbox or real.
    #[arg(long, default_value_t = BackendKind::Real)]
    backend: BackendKind,
    /// Only cases whose title contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Show the timeline of every case.
    #[arg(long)]
    verbose: bool,
    /// Only name the cases.
    #[arg(long)]
    list: bool,
    /// One JSON object per case instead of the table.
    #[arg(long)]
    json: bool,
    /// How many cases run side by side; on the real back end every lane starts a control plane.
    #[arg(long, default_value_t = 3)]
    lanes: usize,
    #[command(flatten)]
    parts: PartArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::WARN).init();
    program::run("palisade-netns", run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    if !arguments.list {
        wiring::check()?;
        wiring::remove_leftovers();
    }
    demo::matrix(Matrix {
        backend: arguments.backend,
        cases: cases(),
        filter: arguments.filter,
        parts: arguments.parts.parts()?,
        verbose: arguments.verbose,
        list: arguments.list,
        json: arguments.json,
        lanes: arguments.lanes,
    })
    .await
}

/// The faults of the network in IPv4; the two that end a node also in IPv6, where addresses look different everywhere.
fn cases() -> Vec<Scenario> {
    let four: Arc<dyn Wiring> = Arc::new(Namespaces::new(Family::V4));
    let six: Arc<dyn Wiring> = Arc::new(Namespaces::new(Family::V6));
    let demonstrated = [Fault::Api, Fault::Isolate, Fault::ZoneCut, Fault::ApiOutage];
    let over = |wiring: &Arc<dyn Wiring>, fault| Scenario {
        wiring: Some(Arc::clone(wiring)),
        ..Scenario::new(fault, "ResourceDeletion")
    };
    let mut cases: Vec<Scenario> =
        demonstrated.into_iter().chain(Fault::NETWORK).map(|fault| over(&four, fault)).collect();
    cases.extend([Fault::Api, Fault::Isolate].map(|fault| over(&six, fault)));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_the_network_is_played() {
        let cases = cases();
        for fault in Fault::NETWORK {
            assert!(cases.iter().any(|case| case.fault == fault), "{fault}");
        }
    }
}
