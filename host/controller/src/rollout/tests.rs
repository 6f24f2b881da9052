//! The DaemonSet of a configuration, and what is said about it.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{EnvVar, NodeSelectorRequirement, Toleration};
use palisade_api::self_node_remediation_config::{ControlPlanePolicy, SelfNodeRemediationConfigSpec};
use palisade_api::{GoDuration, SelfNodeRemediationConfig};
use palisade_core::fencing::record::{AgentRecord, BootId, Claims, RECORD, Terms, Watchdog, encode};

use super::check::{problems, warnings};
use super::daemon_set::{Pace, Wanted, generation, render, tuning};
use super::mirror::values;

fn config(change: impl FnOnce(&mut SelfNodeRemediationConfigSpec)) -> SelfNodeRemediationConfig {
    let mut spec = SelfNodeRemediationConfigSpec::default();
    change(&mut spec);
    let mut config = SelfNodeRemediationConfig::new("self-node-remediation-config", spec);
    config.metadata.uid = Some("config-uid".into());
    config
}

fn rendered(config: &SelfNodeRemediationConfig) -> k8s_openapi::api::apps::v1::DaemonSet {
    let wanted = Wanted { config, image: "agent:1", namespace: "palisade-system", pace: Pace { settle_seconds: 210 } };
    render(&wanted, 7)
}

fn environment(config: &SelfNodeRemediationConfig) -> Vec<EnvVar> {
    rendered(config).spec.unwrap().template.spec.unwrap().containers.remove(0).env.unwrap()
}

fn value(environment: &[EnvVar], name: &str) -> Option<String> {
    environment.iter().find(|variable| variable.name == name).and_then(|variable| variable.value.clone())
}

#[test]
fn lengths_reach_the_agents_as_whole_nanoseconds() {
    let environment = environment(&config(|spec| {
        spec.api_check_interval = GoDuration::from_millis(1_500);
        spec.is_software_reboot_enabled = false;
        spec.min_peers_for_remediation = 0;
        spec.watchdog_file_path.clear();
    }));
    assert_eq!(value(&environment, "API_CHECK_INTERVAL").as_deref(), Some("1500000000"));
    assert_eq!(value(&environment, "PEER_UPDATE_INTERVAL").as_deref(), Some("900000000000"));
    assert_eq!(value(&environment, "IS_SOFTWARE_REBOOT_ENABLED").as_deref(), Some("false"));
    assert_eq!(value(&environment, "MIN_PEERS_FOR_REMEDIATION").as_deref(), Some("0"));
    assert_eq!(value(&environment, "WATCHDOG_PATH").as_deref(), Some("/dev/watchdog"));
    assert_eq!(value(&environment, "END_POINT_HEALTH_CHECK_URL"), None);
}

#[test]
fn agents_follow_the_configuration_and_diagnose_only_where_that_is_wanted() {
    let plain = environment(&config(|_| {}));
    assert_eq!(value(&plain, "PALISADE_FOLLOW_CONFIG").as_deref(), Some("self-node-remediation-config"));
    assert_eq!(value(&plain, "PALISADE_LOAD_SOFTDOG").as_deref(), Some("true"));
    assert_eq!(value(&plain, "CONTROL_PLANE_POLICY"), None);
    let diagnose = environment(&config(|spec| spec.control_plane_policy = Some(ControlPlanePolicy::Diagnose)));
    assert_eq!(value(&diagnose, "CONTROL_PLANE_POLICY").as_deref(), Some("Diagnose"));
}

#[test]
fn c036_what_a_user_writes_stays_a_value() {
    let nasty = "x\"\n        - name: EVIL\n          value: yes # $(MY_NODE_NAME) {{ .Values }}";
    let environment = environment(&config(|spec| spec.endpoint_health_check_url = Some(nasty.into())));
    assert!(!environment.iter().any(|variable| variable.name == "EVIL"));
    // Doubled, `$(` stands for itself and is not expanded.
    let got = value(&environment, "END_POINT_HEALTH_CHECK_URL").unwrap();
    assert_eq!(got.replace("$$(", "$("), nasty);
}

#[test]
fn c029_custom_requirements_are_anded_with_the_exclusion_in_one_term() {
    let custom = NodeSelectorRequirement { key: "pool".into(), operator: "In".into(), values: Some(vec!["a".into()]) };
    let set = rendered(&config(|spec| spec.custom_ds_node_selector_requirements.push(custom.clone())));
    let affinity = set.spec.unwrap().template.spec.unwrap().affinity.unwrap().node_affinity.unwrap();
    let terms = affinity.required_during_scheduling_ignored_during_execution.unwrap().node_selector_terms;
    assert_eq!(terms.len(), 1);
    let expressions = terms[0].match_expressions.clone().unwrap();
    assert_eq!(expressions.len(), 2);
    assert_eq!(
        (expressions[0].key.as_str(), expressions[0].operator.as_str()),
        ("remediation.medik8s.io/exclude-from-remediation", "NotIn")
    );
    assert_eq!(expressions[1], custom);
}

#[test]
fn agents_tolerate_every_taint_of_their_own_remediation_and_what_the_user_adds() {
    let custom = Toleration { key: Some("gpu".into()), operator: Some("Exists".into()), ..Toleration::default() };
    let set = rendered(&config(|spec| spec.custom_ds_tolerations.push(custom.clone())));
    let tolerations = set.spec.unwrap().template.spec.unwrap().tolerations.unwrap();
    let tolerates = |key: &str, effect: &str| {
        tolerations.iter().any(|it| it.key.as_deref() == Some(key) && it.effect.as_deref() == Some(effect))
    };
    assert!(tolerates("remediation.medik8s.io/self-node-remediation", "NoSchedule"));
    assert!(tolerates("node.kubernetes.io/out-of-service", "NoExecute"));
    assert!(tolerates("palisade.dev/released", "NoExecute"));
    assert!(tolerates("node-role.kubernetes.io/control-plane", "NoSchedule"));
    assert_eq!(tolerations.last(), Some(&custom));
}

#[test]
fn the_daemon_set_is_the_known_one_and_belongs_to_the_configuration() {
    let set = rendered(&config(|_| {}));
    assert_eq!(set.metadata.name.as_deref(), Some("self-node-remediation-ds"));
    let owner = &set.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((owner.uid.as_str(), owner.controller), ("config-uid", Some(true)));
    assert_eq!(generation(&set), Some(7));
    let spec = set.spec.unwrap();
    assert_eq!(spec.selector.match_labels, spec.template.metadata.unwrap().labels);
    let pod = spec.template.spec.unwrap();
    assert_eq!(pod.service_account_name.as_deref(), Some("palisade-agent"));
    assert_eq!(pod.containers[0].ports.as_ref().unwrap()[0].host_port, None);
    assert_eq!(pod.security_context.unwrap().run_as_user, Some(0));
}

#[test]
fn a_new_agent_counts_only_when_it_is_old_enough_to_be_a_juror() {
    let spec = SelfNodeRemediationConfigSpec::default();
    // T of 72 s, and twice a minute for a watchdog that nobody knows yet.
    assert_eq!(Pace::of::<&Lease>(&spec, &[]).settle_seconds, 210);
    // An agent that runs with a longer device makes it slower, whatever the configuration says now.
    let mut lease = Lease::default();
    lease.metadata.annotations = Some([(RECORD.to_owned(), encode(&record(Some(180_000), true)))].into());
    assert_eq!(Pace::of(&spec, &[&lease]).settle_seconds, 450);
}

fn record(watchdog: Option<u64>, resets: bool) -> AgentRecord {
    AgentRecord {
        node: "n1".into(),
        boot_id: BootId::new("b1").unwrap(),
        sequence: 1,
        address: "10.0.0.1:30001".into(),
        terms: Terms {
            time_to_live_millis: 72_000,
            watchdog: watchdog.map(|timeout_millis| Watchdog { identity: "iTCO".into(), timeout_millis, resets }),
            reset_steps_millis: 3_000,
            jury: vec![],
            min_peers: 1,
            claims: Claims::default(),
        },
        generation: 1,
        acknowledged: None,
        disarmed: false,
    }
}

#[test]
fn c048_the_right_to_live_contains_the_request_time_that_agents_really_use() {
    let of = |change: fn(&mut SelfNodeRemediationConfigSpec)| tuning(&config(change).spec).time_to_live().as_secs();
    // 3 x (15 + 20) + 5 + max(1, 20 + 2)
    let raised = of(|spec| {
        spec.peer_request_timeout = GoDuration::from_secs(1);
        spec.api_server_timeout = GoDuration::from_secs(20);
    });
    assert_eq!(raised, 132);
    // The example of C044: 4 x (25 + 7) + 11 + 13, and no term for 20 workers.
    let tuned = of(|spec| {
        spec.api_check_interval = GoDuration::from_secs(25);
        spec.api_server_timeout = GoDuration::from_secs(7);
        spec.max_api_error_threshold = 4;
        spec.peer_dial_timeout = GoDuration::from_secs(11);
        spec.peer_request_timeout = GoDuration::from_secs(13);
    });
    assert_eq!(tuned, 152);
}

#[test]
fn c080_c081_nodes_are_annotated_with_what_the_agent_published() {
    assert_eq!(values(&record(Some(30_000), true)), ("true".into(), "30".into()));
    assert_eq!(values(&record(Some(30_100), true)), ("true".into(), "31".into()));
    assert_eq!(values(&record(None, false)), ("true".into(), "0".into()), "by software");
    let mut helpless = record(None, false);
    helpless.terms.reset_steps_millis = u64::MAX;
    assert_eq!(values(&helpless), ("false".into(), "0".into()));
}

#[test]
fn every_problem_of_a_configuration_is_named_at_once() {
    let spec = config(|spec| {
        spec.api_check_interval = GoDuration::from_millis(999);
        spec.peer_dial_timeout = GoDuration::from_millis(9);
        spec.host_port = 70_000;
        spec.custom_ds_tolerations =
            vec![Toleration { operator: Some("Exists".into()), value: Some("x".into()), ..Toleration::default() }];
        spec.custom_ds_node_selector_requirements = vec![NodeSelectorRequirement {
            key: "cores".into(),
            operator: "Gt".into(),
            values: Some(vec!["four".into()]),
        }];
    })
    .spec;
    let text = problems(&spec).join("\n");
    for part in [
        "apiCheckInterval is 999ms and cannot be less than 1s",
        "peerDialTimeout is 9ms and cannot be less than 10ms",
        "hostPort is 70000 and must be from 1 to 65535",
        "customDsTolerations[0]: value is \"x\" and must be empty",
        "customDsNodeSelectorRequirements[0]: values is [\"four\"] and must be one integer",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    assert!(problems(&SelfNodeRemediationConfigSpec::default()).is_empty());
}

#[test]
fn odd_timings_are_told_and_allowed() {
    let spec = config(|spec| {
        spec.peer_request_timeout = GoDuration::from_secs(1);
        spec.api_server_timeout = GoDuration::from_secs(20);
        spec.safe_time_to_assume_node_rebooted_seconds = Some(30);
    })
    .spec;
    let reasons: Vec<_> = warnings(&spec).into_iter().map(|warning| warning.reason).collect();
    assert_eq!(reasons, ["PeerTimeoutAdjusted", "SafeTimeTooShort"]);
    assert!(warnings(&spec)[0].text.contains("22s is used"));
    assert!(warnings(&SelfNodeRemediationConfigSpec::default()).is_empty());
}
