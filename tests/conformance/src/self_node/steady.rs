//! 9.3 and 9.4: what has to hold whatever happens to the controller, its clock and the writes around it; and what an
//! agent's lease says about its node.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::bootstrap::{agents_of, begin, clear, rolling};
use super::know;
use super::subject::{KIND, OUT_OF_SERVICE, OWN, Subject};
use crate::case::Tag::{Fix, Keep};
use crate::case::{Case, Place, case};
use crate::node::State::Sick;
use crate::plane::Start;
use crate::value::brief;
use crate::world::{SOON, World};

/// Debian's library that gives a process a wall clock of its own; its other clocks stay the kernel's.
const CLOCK_LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
const CAPABLE: &str = "is-reboot-capable.self-node-remediation.medik8s.io";
const TIMEOUT: &str = "self-node-remediation.medik8s.io/watchdog-timeout";

/// The cases.
pub fn cases() -> Vec<Case> {
    vec![
        case("C076", Keep, "9.3")
            .given("the controller is killed in each phase, and somebody else writes to the remediation all the time")
            .then("it converges, and the published instant is never earlier than the first one")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                let mut controller = w.controller_with(rolling("c0"))?;
                agents_of(&w).await?;
                let trio = w.trio().await?;
                w.pod(&trio.victim.node, "db-0", "StatefulSet", json!(["test.example/hold"])).await?;
                trio.refuse();
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "OutOfServiceTaint").await?;
                let writes = std::cell::Cell::new(0_u32);
                let story = async {
                    // Not taken up yet, or just now.
                    controller.kill().await;
                    controller = w.controller_with(rolling("c1"))?;
                    snr.reaches("Pre-Reboot-Completed").await?;
                    controller.kill().await;
                    controller = w.controller_with(rolling("c2"))?;
                    trio.promise();
                    snr.reaches("Reboot-Completed").await?;
                    trio.victim.tainted(OUT_OF_SERVICE, true).await?;
                    controller.kill().await;
                    controller = w.controller_with(rolling("c3"))?;
                    super::release::free(&w, "db-0").await?;
                    snr.reaches("Fencing-Completed").await?;
                    controller.kill().await;
                    controller = w.controller_with(rolling("c4"))?;
                    trio.victim.comes_back("b2").await?;
                    snr.delete().await?;
                    snr.gone().await
                };
                tokio::select! {
                    outcome = story => outcome?,
                    () = disturb(&snr, &writes) => {}
                }
                // One for each of the five controllers at least.
                ensure!(writes.get() >= 5, "only {} other writes: this shows nothing", writes.get());
                trio.victim.tainted(OWN, false).await?;
                trio.victim.tainted(OUT_OF_SERVICE, false).await?;
                trio.victim.let_go().await?;
                let instants = instants(&w, &snr)?;
                let first = instants.first().context("none was ever published")?;
                ensure!(instants.iter().all(|instant| instant >= first), "{instants:?}");
                clear(&w).await
            }),
        case("C077", Fix, "9.3")
            .given("the controller's wall clock is stepped 10 minutes ahead during the wait, later back")
            .then("nothing is deleted before the real time elapsed, and then it completes")
            .at(Place::Alone)
            .run(async |w| {
                begin(&w).await?;
                ensure!(Path::new(CLOCK_LIBRARY).exists(), "{CLOCK_LIBRARY} is missing: install Debian's faketime");
                let file = w.plane.dir.join("wall-clock");
                let step = |by: &str| std::fs::write(&file, by).context("the wall clock of the controller");
                step("+0s")?;
                let env = [
                    ("LD_PRELOAD", CLOCK_LIBRARY.to_owned()),
                    ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
                    ("FAKETIME_NO_CACHE", "1".to_owned()),
                    ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
                ];
                let env = env.map(|(key, value)| (key.to_owned(), value)).into();
                let _controller = w.controller_with(Start { env, ..rolling("") })?;
                agents_of(&w).await?;
                let trio = w.trio().await?;
                let (life, watchdog) = (6_000, super::agents::WATCHDOG);
                let begun = Instant::now();
                trio.victim.publish("b1", |record| record.terms.time_to_live_millis = life).await?;
                w.pod(&trio.victim.node, "web", "ReplicaSet", json!([])).await?;
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                snr.reaches("Pre-Reboot-Completed").await?;
                step("+600s")?;
                tokio::time::sleep(Duration::from_secs(2)).await;
                ensure!(w.pod_now("web").await? == (true, false), "the pod was touched");
                let done = snr.reaches("Fencing-Completed").await?;
                let least = Duration::from_millis(life + 2 * watchdog);
                ensure!(begun.elapsed() >= least, "done after {:?}, the boot may live for {least:?}", begun.elapsed());
                // The step was real: what is written for people is in the future.
                let soon = (Timestamp::now() + jiff::SignedDuration::from_mins(5)).to_string();
                let released = stamp(&done, "Released")?;
                ensure!(released > soon, "released at {released}: the clock was not stepped");
                let instants = instants(&w, &snr)?;
                ensure!(instants.windows(2).all(|pair| pair[1] >= pair[0]), "{instants:?}");
                step("-3600s")?;
                trio.victim.comes_back("b2").await?;
                snr.delete().await?;
                snr.gone().await?;
                trio.victim.tainted(OWN, false).await?;
                clear(&w).await
            }),
        case("C080", Fix, "9.4")
            .given("an agent whose watchdog told a timeout of 30 s")
            .then("the node carries true and 30")
            .at(Place::Alone)
            .run(async |w| {
                says(&w, "true", "30", |record| {
                    if let Some(watchdog) = &mut record.terms.watchdog {
                        watchdog.timeout_millis = 30_000;
                    }
                })
                .await
            }),
        case("C081", Keep, "9.4")
            .given("an agent without watchdog that may reboot by software, and one that may not")
            .then("true and false; with false a remediation touches nothing")
            .at(Place::Alone)
            .run(async |w| {
                says(&w, "true", "0", |record| record.terms.watchdog = None).await?;
                says(&w, "false", "0", |record| {
                    record.terms.watchdog = None;
                    record.terms.reset_steps_millis = u64::MAX;
                    record.terms.claims.self_fences = false;
                })
                .await
            }),
        case("C083", Keep, "9.4")
            .given("the agent of the node acknowledges the intent")
            .then("event NodeReboot on the node")
            .run(async |w| {
                know(&w).await?;
                let trio = w.trio().await?;
                trio.refuse();
                trio.victim.node.becomes(Sick).await?;
                let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
                let intent = trio.victim.intended().await?;
                let uid = intent["uid"].as_str().unwrap_or_default().to_owned();
                trio.victim.publish("b1", |record| record.acknowledged = Some(uid)).await?;
                let event = snr.event("Node", &trio.victim.node.name, "NodeReboot").await?;
                ensure!(event["type"] == "Normal", "it is {}", event["type"]);
                ensure!(brief(&event["message"]).contains("b1"), "it says {}", event["message"]);
                snr.reaches("Fencing-Completed").await.map(drop)
            }),
    ]
}

/// Writes to a remediation again and again, as users and other controllers do: in bursts, which a slow pass cannot
/// escape, with pauses in which one can end. Ends never.
async fn disturb(snr: &Subject, writes: &std::cell::Cell<u32>) {
    loop {
        for _ in 0..4 {
            let count = writes.get();
            if snr.annotate("test.example/noise", &count.to_string()).await.is_ok() {
                writes.set(count + 1);
            }
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// Every `timeAssumedRebooted` that was ever seen, in order.
fn instants(w: &World, snr: &Subject) -> anyhow::Result<Vec<Timestamp>> {
    let seen = w
        .eyes()
        .history(KIND, |object| object["metadata"]["namespace"] == *w.name && object["metadata"]["name"] == *snr.name);
    let texts = seen.iter().filter_map(|seen| seen.object["status"]["timeAssumedRebooted"].as_str().map(str::to_owned));
    texts.map(|text| text.parse().with_context(|| format!("timeAssumedRebooted {text:?}"))).collect()
}

/// When a stage was reached, by the controller's wall clock.
fn stamp(object: &Value, stage: &str) -> anyhow::Result<String> {
    let timeline = object["status"]["palisade"]["timeline"].as_array().context("no timeline")?;
    let entry =
        timeline.iter().find(|entry| entry["stage"] == stage).with_context(|| brief(&timeline.clone().into()))?;
    entry["at"].as_str().map(str::to_owned).context("no time")
}

/// What the annotations of a node become when its agent publishes this; not capable means not taken up.
async fn says(
    w: &Rc<World>,
    capable: &str,
    timeout: &str,
    change: impl FnOnce(&mut palisade_core::fencing::record::AgentRecord),
) -> anyhow::Result<()> {
    begin(w).await?;
    let _controller = w.controller_with(rolling(""))?;
    agents_of(w).await?;
    let trio = w.trio().await?;
    trio.victim.publish("b1", change).await?;
    let name = trio.victim.node.name.clone();
    let what = format!("annotations of {name}: {capable}, {timeout}");
    let probe = || {
        let node = w.eyes().get("Node", "", &name).context("no node").map_err(|error| error.to_string())?;
        let annotations = &node["metadata"]["annotations"];
        let right = annotations[CAPABLE] == capable && annotations[TIMEOUT] == timeout;
        if right { Ok(()) } else { Err(brief(annotations)) }
    };
    w.eyes().until(&what, SOON, probe).await?;
    if capable == "false" {
        trio.victim.node.becomes(Sick).await?;
        let snr = w.remediate(&trio.victim.node, "ResourceDeletion").await?;
        snr.complains("cannot end itself").await?;
        snr.is_not_taken_up(Duration::from_secs(3)).await?;
        trio.victim.never_touched()?;
        snr.delete().await?;
        snr.gone().await?;
    }
    clear(w).await
}
