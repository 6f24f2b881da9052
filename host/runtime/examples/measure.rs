//! How long it takes to compile, load and call a component: `cargo run -p palisade-runtime --example measure -- FILE`.

use std::time::{Duration, Instant};

use palisade_runtime::{CallInput, EngineSettings, Granted, Host, Limits};

const CALLS: usize = 5_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("which component?")?;
    let bytes = std::fs::read(&file)?;
    let cache = std::env::temp_dir().join(format!("palisade-measure-{}", std::process::id()));
    let settings = EngineSettings { cache_dir: Some(cache.clone()), ..EngineSettings::default() };

    let started = Instant::now();
    let host = Host::new(&settings)?;
    println!("engine           {:>10.1?}", started.elapsed());
    for what in ["compile and load", "load from cache"] {
        let started = Instant::now();
        host.load(&bytes)?;
        println!("{what:<16} {:>10.1?}", started.elapsed());
    }

    let module = host.load(&bytes)?;
    let (limits, granted, input) = (Limits::default(), Granted::all(), CallInput::default());
    let mut took: Vec<Duration> = (0..CALLS).map(|_| module.call(&input, &limits, &granted).took).collect();
    took.sort();
    println!("call, median     {:>10.1?}   p99 {:?}", took[CALLS / 2], took[CALLS * 99 / 100]);
    println!("fuel of a call   {:>10}", module.call(&input, &limits, &granted).fuel);
    std::fs::remove_dir_all(cache)?;
    Ok(())
}
