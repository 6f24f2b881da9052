//! Remediation by fence agents, jobs and `BareMetalHosts`, end to end on the sandbox: scripted agents, a device that is a
//! file, and every step of it in a log.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests outside test functions")]

#[path = "far/bench.rs"]
mod bench;

use bench::{Bench, NODE, eventually, says, stays};
use serde_json::json;
use std::time::Duration;

/// FA-01, FA-22, B.2 #8: off, read back, released, on; the agent hears its parameters on standard input only.
#[tokio::test(flavor = "multi_thread")]
async fn fa_01_off_is_read_back_before_the_release_and_on_comes_after_it() {
    let bench = Bench::start().await;
    bench.pod("web-0", NODE).await;
    bench.pod("web-1", "n2").await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "0"));
    bench.remediate(&json!({}), "r").await;
    bench.succeeds("r").await;
    assert!(!bench.has_pod("web-0").await && bench.has_pod("web-1").await);
    assert_eq!(bench.switches(), ["off", "on"]);
    let (proof, grade) = bench.proof("r").await;
    assert_eq!((proof.as_str(), grade.as_str()), ("PoweredOff", "Certain"));
    assert!(bench.log().lines().all(|line| line.starts_with("argc=0 ")), "{}", bench.log());
    // The device's reading that proves is older than the release.
    bench.nothing_shows_the_secret().await;
}

/// B.2 #8: an agent that says success while the machine runs on releases nothing.
#[tokio::test(flavor = "multi_thread")]
async fn b2_8_a_lying_success_releases_nothing() {
    let bench = Bench::start().await;
    bench.pod("web-0", NODE).await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "0").replace("echo off > power", "true"));
    bench.remediate(&json!({ "retrycount": 2 }), "r").await;
    bench.fails("r", "still reads On").await;
    assert!(bench.has_pod("web-0").await && bench.is_running("web-0").await);
    assert_eq!(bench.switches(), ["off", "off"]);
}

/// FA-16, FA-15: exactly as often as allowed, and no release.
#[tokio::test(flavor = "multi_thread")]
async fn fa_16_an_agent_that_always_fails_runs_exactly_as_often_as_allowed() {
    let bench = Bench::start().await;
    bench.pod("web-0", NODE).await;
    bench.agent(
        "fence_fake",
        &bench::AGENT.replace("DELAY", "0").replace("echo off > power", "echo broken >&2; exit 1"),
    );
    bench.remediate(&json!({ "retrycount": 3, "retryinterval": "1s" }), "r").await;
    bench.fails("r", "ended with 1: broken").await;
    assert_eq!(bench.switches(), ["off", "off", "off"]);
    assert!(bench.has_pod("web-0").await);
    assert_eq!(bench.condition("r", "FenceAgentActionSucceeded").await, ("False".into(), "FenceAgentFailed".into()));
}

/// FA-17: the limit is told apart from a failure.
#[tokio::test(flavor = "multi_thread")]
async fn fa_17_an_agent_past_its_limit_is_timed_out() {
    let bench = Bench::start().await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "600"));
    bench.remediate(&json!({ "retrycount": 1, "timeout": "2s" }), "r").await;
    bench.fails("r", "time limit").await;
    assert_eq!(bench.condition("r", "FenceAgentActionSucceeded").await, ("False".into(), "FenceAgentTimedOut".into()));
}

/// FA-05, B.2 #2 and FA-13, B.2 #5: nothing is touched for what cannot be right.
#[tokio::test(flavor = "multi_thread")]
async fn b2_2_and_b2_5_parameters_that_cannot_be_right_touch_nothing() {
    let bench = Bench::start().await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "0"));
    for (name, spec, why) in [
        ("missing-node", json!({ "nodeparameters": { "--plug": { "n2": "2" } } }), "no value for node n1"),
        ("short-action", json!({ "sharedparameters": { "-o": "on" } }), "reboot or off"),
        ("no-agent", json!({ "agent": "fence_missing" }), "does not exist in"),
        ("path", json!({ "agent": "fence_../../bin/sh" }), "no name of a fence agent"),
        ("script", json!({ "sharedparameters": { "--password-script": "/bin/sh" } }), "may not"),
        ("in-secret", json!({ "sharedparameters": { "--password": "x" } }), "also in spec"),
    ] {
        bench.remediate(&spec, name).await;
        bench.fails(name, why).await;
        bench.delete(name).await;
    }
    assert_eq!(bench.switches(), Vec::<String>::new());
    assert!(bench.taints().await.is_empty());
}

/// FA-04, B.2 #1, X-22: a retry count below one that got past the schema is refused by the controller.
#[tokio::test(flavor = "multi_thread")]
async fn b2_1_a_negative_retry_count_is_no_success() {
    let bench = Bench::start().await;
    bench.pod("web-0", NODE).await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "0"));
    for count in [-1, 0] {
        let name = format!("r{}", count + 1);
        bench.remediate(&json!({ "retrycount": count }), &name).await;
        bench.fails(&name, "spec.retrycount").await;
        bench.delete(&name).await;
    }
    assert_eq!(bench.switches(), Vec::<String>::new());
    assert!(bench.is_running("web-0").await);
}

/// FA-11: a Secret that comes later.
#[tokio::test(flavor = "multi_thread")]
async fn fa_11_a_missing_secret_is_waited_for() {
    let bench = Bench::start().await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "0"));
    bench.remediate(&json!({ "sharedSecretName": "later" }), "r").await;
    eventually("it says what it waits for", || async {
        bench.remediation("r").await.is_some_and(|object| says(&object, "Secret palisade-system/later"))
    })
    .await;
    assert_eq!(bench.log(), "");
    bench.secret("later").await;
    bench.succeeds("r").await;
}

/// FA-19, B.2 #6: killed while the agent runs, the next process reads first.
#[tokio::test(flavor = "multi_thread")]
async fn b2_6_a_restart_during_the_run_is_no_second_switch() {
    let mut bench = Bench::start().await;
    bench.pod("web-0", NODE).await;
    // It has switched, and is not back yet.
    bench.agent(
        "fence_fake",
        &bench::AGENT.replace("DELAY", "0").replace("echo off > power", "echo off > power; sleep 600"),
    );
    bench.remediate(&json!({}), "r").await;
    eventually("the machine is off", || async { bench.power() == "off" }).await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "0"));
    bench.restart_controller().await;
    bench.succeeds("r").await;
    assert_eq!(bench.switches(), ["off", "on"]);
}

/// X-05, X-07: given up, nothing further is switched, and the deletion leaves nothing behind.
#[tokio::test(flavor = "multi_thread")]
async fn x_07_a_timed_out_remediation_switches_nothing() {
    let bench = Bench::start().await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "0"));
    bench.remediate_timed_out("r").await;
    eventually("it says so", || async {
        bench.condition("r", "Succeeded").await == ("False".into(), "RemediationInterruptedByNHC".into())
    })
    .await;
    stays("nothing is asked of the device", Duration::from_secs(2), || async { bench.log().is_empty() }).await;
    bench.delete("r").await;
    assert!(bench.taints().await.is_empty());
}

/// X-10, B.2 #4: the node goes, and the remediation after it.
#[tokio::test(flavor = "multi_thread")]
async fn b2_4_a_deleted_node_holds_nothing() {
    let bench = Bench::start().await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "600"));
    bench.remediate(&json!({}), "r").await;
    eventually("the agent runs", || async { !bench.log().is_empty() }).await;
    bench.delete_node().await;
    bench.delete("r").await;
}

/// FA-24, FA-25: the taint is exact; an administrator's own stays.
#[tokio::test(flavor = "multi_thread")]
async fn b2_12_an_administrators_taint_stays() {
    let bench = Bench::start().await;
    bench.agent("fence_fake", &bench::AGENT.replace("DELAY", "0"));
    bench.taint("node.kubernetes.io/out-of-service", "nodeshutdown", "NoExecute").await;
    bench
        .remediate(
            &json!({ "remediationStrategy": "OutOfServiceTaint", "sharedparameters": { "--action": "off" } }),
            "r",
        )
        .await;
    bench.succeeds("r").await;
    assert_eq!((bench.switches(), bench.power()), (vec!["off".to_owned()], "off".to_owned()));
    bench.delete("r").await;
    assert_eq!(bench.taints().await, ["node.kubernetes.io/out-of-service"]);
}

/// B.3 #1, #2, CS-02, CS-07, CS-13: a name of the list runs once; a text is refused; success is no evidence.
#[tokio::test(flavor = "multi_thread")]
async fn b3_a_job_of_the_list_runs_once_and_a_script_never() {
    let mut bench = Bench::start().await;
    bench.pod("web-0", NODE).await;
    bench.list("power-cut", &json!({})).await;
    bench.script("text", "#!/bin/bash\nreboot -f").await;
    bench.script_fails("text", "names no job").await;
    bench.script("unknown", "other-job").await;
    bench.script_fails("unknown", "power-cut").await;
    assert!(bench.jobs().await.is_empty());

    bench.script("r", "power-cut").await;
    eventually("the job is made", || async { bench.jobs().await.len() == 1 }).await;
    for round in 0..3 {
        bench.annotate_script("r", &format!("round-{round}")).await;
        bench.restart_controller().await;
    }
    bench.finish_job("Complete").await;
    bench.script_succeeds("r").await;
    assert_eq!(bench.jobs().await.len(), 1);
    // It proves nothing, so nothing is released.
    assert!(bench.is_running("web-0").await && bench.taints().await.is_empty());
    let job = bench.jobs().await.remove(0);
    let pod = &job["spec"]["template"]["spec"];
    assert_eq!((&pod["automountServiceAccountToken"], &job["spec"]["backoffLimit"]), (&json!(false), &json!(0)));
}

/// A job that is declared to be evidence: marks, run, proof, release.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_declared_to_be_evidence_releases() {
    let bench = Bench::start().await;
    bench.pod("web-0", NODE).await;
    bench.list("power-cut", &json!({ "palisade.dev/evidence": "powered-off" })).await;
    bench.script("r", "power-cut").await;
    eventually("the job is made", || async { bench.jobs().await.len() == 1 }).await;
    assert!(bench.has_pod("web-0").await);
    bench.finish_job("Complete").await;
    bench.script_succeeds("r").await;
    assert!(!bench.has_pod("web-0").await);
}

/// M3-01, M3-04: hold, off, release, let go, by somebody who plays the operator of hosts.
#[tokio::test(flavor = "multi_thread")]
async fn m3_01_a_host_is_held_off_released_and_let_go() {
    let bench = Bench::start().await;
    bench.pod("web-0", NODE).await;
    bench.hosts().await;
    bench.metal3("r").await;
    bench.is_held("r").await;
    let (key, value) = bench.holds().await.remove(0);
    assert!(key.starts_with("reboot.metal3.io/palisade-") && value == r#"{"mode":"hard"}"#, "{key} {value}");
    // Its status lags: nothing is released meanwhile.
    stays("nothing is released", Duration::from_secs(3), || async { bench.is_running("web-0").await }).await;
    bench.host_powered(false).await;
    eventually("the pod is gone", || async { !bench.has_pod("web-0").await }).await;
    eventually("the host is let go", || async { bench.holds().await.is_empty() }).await;
    bench.host_powered(true).await;
    eventually("it succeeds", || async { bench.wasm_condition("r").await == "True" }).await;
}

/// M3-06 and M3-12: a host that its user keeps off is not touched; a hold goes with the remediation.
#[tokio::test(flavor = "multi_thread")]
async fn b7_2_a_hold_goes_with_the_remediation_also_when_the_machine_is_gone() {
    let bench = Bench::start().await;
    bench.hosts().await;
    bench.metal3("r").await;
    bench.is_held("r").await;
    bench.delete_machine().await;
    bench.delete_wasm("r").await;
    assert!(bench.holds().await.is_empty());
}

/// FA-26: parameters of a template are tried with a status request, and no power is switched.
#[tokio::test(flavor = "multi_thread")]
async fn fa_26_a_template_is_tried_without_switching_anything() {
    let bench = Bench::start().await;
    bench.agent(
        "fence_fake",
        &bench::AGENT
            .replace("DELAY", "0")
            .replace("status)", "status) [ \"$plug\" = 2 ] && { echo 'login failed' >&2; exit 1; };"),
    );
    bench.template("t", &json!("100%")).await;
    eventually("it is validated", || async { bench.template_status("t").await["conditions"][0]["status"] == "False" })
        .await;
    let status = bench.template_status("t").await;
    assert_eq!(status["conditions"][0]["reason"], "ValidationFailed");
    assert!(status["validationPassed"]["n1"].is_string(), "{status}");
    assert!(status["validationFailed"]["n2"].as_str().unwrap().contains("the device refuses"), "{status}");
    assert!(!bench.log().contains("action=off") && !bench.log().contains("action=on"));
}
