//! Every id that the specification of SelfNodeRemediation lists, and for those that need no control plane, or more than
//! one, where else each is proven.

use crate::case::Tag;
use crate::catalogue::Listed;

/// Section 9 of the specification. What it calls "documented intent" counts as [`Tag::Fix`].
#[rustfmt::skip]
pub const SELF_NODE_REMEDIATION: &[Listed] = &[
    ("C002", "9.1", Tag::Keep), ("C003", "9.1", Tag::Keep), ("C005", "9.1", Tag::Keep), ("C009", "9.1", Tag::Keep),
    ("C012", "9.1", Tag::Keep), ("C013", "9.1", Tag::Keep), ("C016", "9.1", Tag::Keep), ("C018", "9.1", Tag::Keep),
    ("C020", "9.1", Tag::Keep),
    ("C023", "9.2", Tag::Keep), ("C024", "9.2", Tag::Keep), ("C025", "9.2", Tag::Keep), ("C029", "9.2", Tag::Keep),
    ("C031", "9.2", Tag::Keep), ("C033", "9.2", Tag::Keep), ("C034", "9.2", Tag::Keep), ("C035", "9.2", Tag::Keep),
    ("C036", "9.2", Tag::Fix),
    ("C037", "9.3", Tag::Keep), ("C038", "9.3", Tag::Keep), ("C041", "9.3", Tag::Keep), ("C044", "9.3", Tag::Keep),
    ("C045", "9.3", Tag::Keep), ("C046", "9.3", Tag::Fix), ("C048", "9.3", Tag::Fix), ("C049", "9.3", Tag::Fix),
    ("C050", "9.3", Tag::Keep), ("C054", "9.3", Tag::Keep), ("C055", "9.3", Tag::Keep), ("C058", "9.3", Tag::Keep),
    ("C059", "9.3", Tag::Keep), ("C060", "9.3", Tag::Fix), ("C061", "9.3", Tag::Fix), ("C062", "9.3", Tag::Keep),
    ("C064", "9.3", Tag::Keep), ("C066", "9.3", Tag::Keep), ("C067", "9.3", Tag::Keep), ("C069", "9.3", Tag::Keep),
    ("C074", "9.3", Tag::Fix), ("C075", "9.3", Tag::Keep), ("C076", "9.3", Tag::Keep), ("C077", "9.3", Tag::Fix),
    ("C078", "9.3", Tag::Fix), ("C079", "9.3", Tag::Fix),
    ("C080", "9.4", Tag::Fix), ("C081", "9.4", Tag::Keep), ("C082", "9.4", Tag::Keep), ("C083", "9.4", Tag::Keep),
    ("C085", "9.4", Tag::Fix), ("C086", "9.4", Tag::Keep), ("C087", "9.4", Tag::Fix), ("C088", "9.4", Tag::Keep),
    ("C089", "9.4", Tag::Keep), ("C090", "9.4", Tag::Fix), ("C093", "9.4", Tag::Fix), ("C094", "9.4", Tag::Fix),
    ("C097", "9.5", Tag::Keep), ("C098", "9.5", Tag::Keep), ("C100", "9.5", Tag::Keep), ("C101", "9.5", Tag::Keep),
    ("C102", "9.5", Tag::Fix), ("C103", "9.5", Tag::Keep), ("C104", "9.5", Tag::Keep), ("C105", "9.5", Tag::Keep),
    ("C106", "9.5", Tag::Keep), ("C107", "9.5", Tag::Keep),
];

/// Proven by another test, named by file and function. What that test shows less than the specification lists is told in
/// the last text; an empty one claims the whole.
#[rustfmt::skip]
pub const ELSEWHERE: &[(&str, &str, &str, &str)] = &[
    ("C064", "host/controller/tests/around.rs", "c064_a_remediation_of_a_machine_is_about_its_node", ""),
    ("C076", "host/controller/tests/remediation.rs", "line_22_killing_the_controller_at_every_step_changes_nothing",
        "the controller is killed at every stage; no status conflicts are injected; that the published instant never moves forward is C035's"),
    ("C080", "host/controller/src/rollout/tests.rs", "c080_c081_nodes_are_annotated_with_what_the_agent_published",
        "the values for a device of 30 s; that they reach the Node is c080_nodes_carry_what_older_tools_look_for in host/controller/tests/rollout.rs, with 1 s"),
    ("C081", "host/controller/src/rollout/tests.rs", "c080_c081_nodes_are_annotated_with_what_the_agent_published", "the values only"),
    ("C083", "host/agent/tests/cluster.rs", "an_intent_reaches_a_connected_agent_within_a_second_and_is_acknowledged",
        "feeding stops within a second; the event NodeReboot is not looked for"),
    ("C085", "host/controller/tests/remediation.rs", "deleting_a_remediation_before_the_proof_is_an_abort", ""),
    ("C086", "host/core/src/fencing/agent/tests/contact.rs", "line_4_an_intent_for_another_boot_is_carried_and_ignored", "the agent's decision, without a machine"),
    ("C090", "host/core/src/fencing/agent/tests/contact.rs", "without_software_reboot_and_without_watchdog_self_fencing_is_never_claimed",
        "the claim; that a node told to do nothing is not reset is disabled_means_nothing_is_tried in host/agent/src/devices/reset.rs"),
    ("C093", "host/agent/tests/cluster.rs", "a_stop_without_the_api_leaves_the_watchdog_armed",
        "SIGTERM without API; SIGTERM with a fence pending is an_intent_that_comes_during_a_graceful_stop_still_ends_the_boot in host/core (fencing/agent/tests/ends.rs); SIGKILL is the scenario kill of the virtual machine test"),
    ("C094", "host/agent/tests/cluster.rs", "a_fenced_boot_is_not_fed_by_the_next_process_either", ""),
    ("C097", "host/core/src/fencing/agent/tests/contact.rs", "below_the_threshold_no_peer_is_asked", "the agent's decision, without a network"),
    ("C098", "host/agent/tests/cluster.rs", "a_node_whose_api_server_is_silent_is_carried_by_its_peers",
        "no reboot; that peers are asked again only after another full threshold is not shown"),
    ("C100", "host/agent/tests/cluster.rs", "a_whole_api_outage_in_silence_reboots_nobody", "three agents, not also 2, 5 and 20"),
    ("C101", "host/agent/tests/cluster.rs", "an_isolated_node_ends_itself_within_t_and_nobody_else_does",
        "ends within the published T; there is no round of grace after a peer's answer here"),
    ("C102", "host/agent/tests/famous.rs", "snr_312_a_node_without_peers_survives_an_api_outage",
        "minimum 1; minimum 0 is snr_312_a_node_without_peers_that_was_told_so_ends_in_isolation beside it"),
    ("C106", "host/agent/tests/control_plane.rs", "c106_workers_silent_and_a_control_plane_peer_without_api_answers_it_stays",
        "real agents under controlPlanePolicy Diagnose (without it such a node ends like every other, snr_339 in famous.rs); no peer, a healthy one and an intent are the other three tests named c106 there"),
    ("C107", "host/agent/tests/control_plane.rs", "c107_most_workers_without_api_and_the_kubelet_alive_it_stays",
        "dead kubelet and lost endpoint are the other two tests named c107 there, with diagnostics that the test decides; the real ones are c107 in host/agent/src/diagnose/tests.rs"),
];

/// Neither a case here nor a named test elsewhere, each with the reason.
#[rustfmt::skip]
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("C024", "replaced: one certificate for each node instead of one key for all (W18); there is no shared secret"),
    ("C025", "replaced, as C024"),
    ("C044", "replaced: the wait is what the agent published, not a formula over the number of workers (W11); see C046"),
    ("C045", "replaced, as C044: without a published lease there is no proof by time; see C037"),
    ("C048", "replaced: the agent publishes T with the effective request time (host/core, timing); see C046"),
    ("C049", "replaced: one parallel round to at most 15 peers, so the number of nodes has no part in the wait"),
    ("C077", "NOT SHOWN: no test steps the wall clock. Decisions use CLOCK_BOOTTIME only (host/controller/src/clock.rs), which cannot be stepped"),
    ("C082", "NOT SHOWN as listed: no test counts what is written to a device or reads the bytes. When it is fed is decided in host/agent/src/devices/feeder.rs, with tests of its own; the virtual machine test shows that a device which is fed does not fire, and one which is not does (kill, stop)"),
    ("C087", "NOT SHOWN: no test steps the wall clock of a node. Boots are compared by id, never by clocks"),
    ("C088", "NOT SHOWN: no test has a device that is triggered and does not fire. The scenario intent of the virtual machine test resets by software without waiting for the device"),
    ("C089", "NOT SHOWN: no test runs an agent whose device is busy. That a device which fails is reported is tested in host/agent/src/devices/feeder.rs"),
    ("C103", "replaced: one parallel round instead of batches"),
    ("C104", "replaced: the wire format of the old agents is not spoken; ours is tested in host/rpc and host/agent"),
    ("C105", "replaced, as C104: host/rpc tests refuse plain text, other authorities and other names"),
];

/// Listed ids without a case of this suite, each with what is to be said about it.
pub fn not_here() -> impl Iterator<Item = (Listed, String)> {
    SELF_NODE_REMEDIATION.iter().filter_map(|listed| {
        let elsewhere = ELSEWHERE.iter().find(|(id, ..)| *id == listed.0);
        let elsewhere = elsewhere.map(|(_, file, test, less)| match *less {
            "" => format!("proven elsewhere: {file}, {test}"),
            less => format!("proven elsewhere, narrower than listed: {file}, {test}: {less}"),
        });
        let left_out = LEFT_OUT.iter().find(|(id, _)| *id == listed.0).map(|(_, why)| (*why).to_owned());
        Some((*listed, elsewhere.or(left_out)?))
    })
}

/// One line: how many are cases here, proven elsewhere, replaced or left out.
pub fn summary() -> String {
    let (all, elsewhere, left_out) = (SELF_NODE_REMEDIATION.len(), ELSEWHERE.len(), LEFT_OUT.len());
    format!(
        "listed cases of SelfNodeRemediation: {all}; {} automated here, {elsewhere} proven by tests named above, \
         {left_out} replaced or left out with a reason",
        all - elsewhere - left_out
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_listed_id_is_a_case_or_proven_elsewhere_or_left_out_for_a_reason() {
        let cases: BTreeSet<&str> = super::super::cases().iter().map(|case| case.id).collect();
        for (id, ..) in SELF_NODE_REMEDIATION {
            let places = usize::from(cases.contains(id))
                + usize::from(ELSEWHERE.iter().any(|(other, ..)| other == id))
                + usize::from(LEFT_OUT.iter().any(|(other, _)| other == id));
            assert_eq!(places, 1, "{id} has to be in exactly one place");
        }
    }

    #[test]
    fn the_tests_that_are_named_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (id, file, function, _) in ELSEWHERE {
            let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
            assert!(text.contains(&format!("fn {function}(")), "{id}: {file} has no test {function}");
        }
    }
}
