//! A healthy cluster costs nothing, and one failing node costs next to nothing.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, ListParams};
use serde_json::json;

use super::stand::Stand;
use super::{Options, Report};
use crate::audit::Mark;
use crate::controller::{self, NAMESPACE};
use crate::fleet::{self, Fault, Fleet};
use crate::install::{counted_policy, policy, remediations};
use crate::wait;

/// How long nodes of the policy are unhealthy before they are remediated.
const AFTER: Duration = Duration::from_secs(2);
/// Most requests from the failure of a node until its remediation exists.
const BUDGET: usize = 6;
/// Nodes that fail, one after the other.
const FAILURES: usize = 3;

pub(super) async fn play(report: &mut Report, options: &Options) -> anyhow::Result<()> {
    let stand = Stand::start(&options.parts, None).await?;
    let begun = Instant::now();
    let fleet = stand.fleet(fleet::Spec::new("quiet", options.nodes)).await?;
    eprintln!("       {} nodes ready after {:.1} s", options.nodes, begun.elapsed().as_secs_f64());
    let controller = stand.controller("quiet", &["--leader-elect"]).await?;
    let quiet = format!(
        "quiet: a healthy cluster of {} nodes causes no request in {} s besides watches and leader election",
        options.nodes, options.seconds
    );
    report.play(&quiet, healthy(&stand, options)).await;
    let few = format!("quiet: one failing node causes at most {BUDGET} requests until its remediation exists");
    report.play(&few, failing(&stand, &fleet)).await;
    controller.stop().await;
    drop(fleet);
    let passed = report.outcomes.iter().all(|outcome| outcome.passed);
    stand.finish(passed).await;
    Ok(())
}

/// Given policies over a healthy, beating fleet, when nothing fails, then the controller asks for nothing.
async fn healthy(stand: &Stand, options: &Options) -> anyhow::Result<String> {
    let first = policy("workers", "quiet", AFTER, &json!({}));
    counted_policy(&stand.admin, &first, options.nodes, Duration::from_mins(1)).await?;
    // A second one, of the kind that people have, over the same nodes.
    let snr = json!({ "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediationTemplate",
        "name": palisade_api::keys::self_node::DEFAULT_TEMPLATE_NAME, "namespace": NAMESPACE });
    let second = policy("self-node", "quiet", Duration::from_mins(5), &json!({ "remediationTemplate": snr }));
    counted_policy(&stand.admin, &second, options.nodes, Duration::from_mins(1)).await?;
    stand.settled().await?;
    let started = stand.asked_since(Mark::default())?;
    // Otherwise silence would prove nothing: this is how the controller looks when it does ask.
    anyhow::ensure!(started.count() > 0, "the audit log shows no request of the controller's start");
    let mark = stand.plane.audit.mark()?;
    let begun = jiff::Timestamp::now();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let asked = stand.asked_since(mark)?;
    let beats = beats_since(stand, begun).await?;
    anyhow::ensure!(beats >= options.nodes, "only {beats} of {} nodes beat: the cluster was not alive", options.nodes);
    anyhow::ensure!(asked.count() == 0, "{} requests:\n{}{}", asked.count(), asked.table(), asked.lines(20));
    let all = stand.plane.audit.since(mark)?.by_user(controller::USER);
    Ok(format!(
        "0 requests; besides them {} watches and {} of leader election; {} requests at the start",
        all.verb("watch").count(),
        all.except_verb("watch").count(),
        started.count()
    ))
}

/// Given the same, when one node says that it is not ready, then its remediation costs only so many requests. The first
/// time is the first of the whole cluster: nothing but the controller has made the namespace of the leases.
async fn failing(stand: &Stand, fleet: &Fleet) -> anyhow::Result<String> {
    let foos = remediations(&stand.admin, "Foo");
    let mut counts = Vec::new();
    let mut last = Vec::new();
    for index in 0..FAILURES {
        stand.settled().await?;
        let machine = fleet.machine(index * 7);
        let mark = stand.plane.audit.mark()?;
        machine.fail(Fault::NotReady);
        wait::until(Duration::from_secs(30), "the remediation exists", async || {
            let there = foos.get_opt(machine.name()).await?.is_some();
            Ok(if there { Ok(()) } else { Err(format!("none for {}", machine.name())) })
        })
        .await?;
        // The object can be read a moment before the line of its creation is written.
        let asked = wait::until(Duration::from_secs(5), "the log shows the creation", async || {
            let asked = stand.asked_since(mark)?;
            let logged = asked.verb("create").resource(crate::install::GROUP, "foos").count() > 0;
            Ok(if logged { Ok(asked) } else { Err(asked.lines(10)) })
        })
        .await?;
        let created = asked.verb("create").resource(crate::install::GROUP, "foos").succeeded();
        anyhow::ensure!(created.count() == 1, "{} creations:\n{}", created.count(), created.lines(10));
        let until = asked.until(created.entries()[0].reached);
        anyhow::ensure!(until.count() <= BUDGET, "{} requests:\n{}", until.count(), until.lines(30));
        counts.push(until.count());
        last = until.entries().iter().map(|entry| format!("{} {}", entry.verb, entry.kind())).collect();
        machine.recover();
        wait::until(Duration::from_secs(30), "the remediation is deleted again", async || {
            let gone = foos.get_opt(machine.name()).await?.is_none();
            Ok(if gone { Ok(()) } else { Err("it is still there".to_owned()) })
        })
        .await?;
    }
    stand.settled().await?;
    Ok(format!("{counts:?} requests, the creation included; the last time: {}", last.join(", ")))
}

async fn beats_since(stand: &Stand, begun: jiff::Timestamp) -> anyhow::Result<usize> {
    let leases: Api<Lease> = Api::namespaced(stand.admin.clone(), "kube-node-lease");
    let leases = leases.list(&ListParams::default()).await?.items;
    let renewed = leases.iter().filter_map(|lease| lease.spec.as_ref()?.renew_time.as_ref());
    Ok(renewed.filter(|time| time.0 > begun).count())
}
