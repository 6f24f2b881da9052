//! An agent at rest: what it costs when nothing happens, with the default configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;
use tokio::process::Command;

use crate::cluster::Cluster;
use crate::machine::Accelerator;
use crate::timing::Timing;

/// Resident memory that an agent may have, in KiB.
const MEMORY: u64 = 8 * 1024;
/// Processor time that counts as none: one part in a thousand.
const PROCESSOR: f64 = 0.001;
/// Requests that an agent may make in a minute: renewals every 15 s, and a look at trust and the others now and then.
const REQUESTS: f64 = 8.0;
/// The node.
const NODE: &str = "at-rest";
/// First looks at the others come quickly and become rare; they are no rest.
const SETTLES: Duration = Duration::from_secs(45);
/// Clock ticks per second in `/proc/PID/stat`, on every Linux architecture Debian has.
const TICKS: f64 = 100.0;

/// Measures, prints, and tells whether the limits were kept.
pub async fn measure(folder: &Path, agent: &Path, length: Duration, as_json: bool) -> anyhow::Result<bool> {
    let cluster = Cluster::start(folder, agent, &Timing::for_machine(Accelerator::Kvm)).await?;
    let boot_id = folder.join("rest-boot-id");
    std::fs::write(&boot_id, "a boot at rest")?;
    let address = cluster.free_address()?.to_string();
    let mut agent = Command::new(agent)
        .args(["--node-name", NODE, "--watchdog", "none", "--reboot", "none"])
        .args(["--listen", &address, "--advertise", &address])
        .arg("--kubeconfig")
        .arg(&cluster.kubeconfig)
        .arg("--host-dir")
        .arg(folder.join("rest"))
        .arg("--boot-id-file")
        .arg(&boot_id)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(folder.join("rest.log"))?)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("starting {}", agent.display()))?;
    let process = format!("/proc/{}", agent.id().context("the agent ended at once")?);
    let with_jury = |record: &palisade_core::fencing::record::AgentRecord| !record.terms.jury.is_empty();
    cluster.record_with(NODE, Duration::from_mins(1), "a jury", with_jury).await?;
    tokio::time::sleep(SETTLES).await;

    let (processor, requests) = (processor_seconds(&process)?, requests(&cluster));
    tokio::time::sleep(length).await;
    ensure!(agent.try_wait()?.is_none(), "the agent ended");
    let minutes = length.as_secs_f64() / 60.0;
    let used = (processor_seconds(&process)? - processor) / length.as_secs_f64();
    let mut made = self::requests(&cluster);
    for (what, before) in requests {
        *made.entry(what).or_default() -= before;
    }
    made.retain(|_, count| *count > 0);
    let per_minute = made.values().sum::<i64>() as f64 / minutes;
    let memory = status(&process, "VmRSS:")?;
    let code = status(&process, "RssFile:")?;
    let passed = memory <= MEMORY && used <= PROCESSOR && per_minute <= REQUESTS;
    if as_json {
        let result = json!({
            "seconds": length.as_secs(), "residentKiB": memory, "ofThatCodeKiB": code, "processorShare": used,
            "requestsPerMinute": per_minute, "requests": made, "passed": passed,
        });
        println!("{result}");
    } else {
        println!("an agent at rest for {} s, default configuration", length.as_secs());
        println!("resident memory  {memory:>7} KiB of at most {MEMORY} (code {code} KiB)");
        println!("processor        {:>7.3} %   of at most {:.1} %", used * 100.0, PROCESSOR * 100.0);
        println!("requests         {per_minute:>7.1} a minute of at most {REQUESTS}: {made:?}");
    }
    Ok(passed)
}

/// User and system time of a process so far.
fn processor_seconds(process: &str) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("{process}/stat")).context("the agent is gone")?;
    // The name in brackets may hold blanks; fields 14 and 15 count from the start.
    let after_name = stat.rsplit_once(')').context("an unreadable stat file")?.1;
    let mut times = after_name.split_whitespace().skip(11).take(2);
    let mut tick = || times.next().and_then(|text| text.parse::<u64>().ok()).context("an unreadable stat file");
    Ok((tick()? + tick()?) as f64 / TICKS)
}

fn status(process: &str, key: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("{process}/status")).context("the agent is gone")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
    line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("{key} {line}"))
}

/// What the measured agent asked the API server so far; it names itself and its node in every request.
fn requests(cluster: &Cluster) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for entry in cluster.store.audit().entries() {
        if entry.user_agent.ends_with(NODE) {
            *counts.entry(format!("{} {}", entry.verb, entry.resource)).or_default() += 1;
        }
    }
    counts
}
