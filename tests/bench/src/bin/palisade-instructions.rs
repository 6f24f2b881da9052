//! What `palisade-bench instructions` runs under callgrind: one part of the core, so many times, over so many nodes, and
//! nothing else. Small, because valgrind reads the whole program first.

use std::hint::black_box;
use std::process::ExitCode;

use jiff::Timestamp;
use palisade_bench::measure::core::{decide, fleet, policy};
use palisade_core::health::judge;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [part, nodes, times] = arguments.as_slice() else { return usage() };
    let (Ok(count), Ok(times)) = (nodes.parse::<usize>(), times.parse::<usize>()) else { return usage() };
    // The same instant in every run: what is counted must not depend on the clock.
    let now = Timestamp::constant(1_800_000_000, 0);
    let (spec, nodes) = (policy(), fleet(count, now));
    let judgement = judge(&nodes, &spec.unhealthy_conditions, now);
    for _ in 0..times {
        match part.as_str() {
            "judge" => drop(black_box(judge(black_box(&nodes), &spec.unhealthy_conditions, now))),
            "plan" => drop(black_box(decide(&spec, black_box(&nodes), &judgement, now))),
            "event" => {
                for node in &nodes {
                    drop(black_box(judge(std::slice::from_ref(black_box(node)), &spec.unhealthy_conditions, now)));
                }
            }
            _ => return usage(),
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("palisade-instructions judge|plan|event NODES TIMES");
    ExitCode::FAILURE
}
