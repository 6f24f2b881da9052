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

const CASES: &str = "host/agent/tests/spec_cases.rs";
const MACHINE: &str = "tests/vm/src/special.rs";

/// An id, the tests that prove it by file and function, and what they show less than the specification lists.
type Elsewhere = (&'static str, &'static [(&'static str, &'static str)], &'static str);

/// Proven by other tests, each named by file and function; those in `tests/vm` are scenarios of `cargo xtask vm`. What
/// they show less than the specification lists is told in the last text; an empty one claims the whole.
#[rustfmt::skip]
pub const ELSEWHERE: &[Elsewhere] = &[
    ("C048", &[("host/controller/src/rollout/tests.rs", "c048_the_right_to_live_contains_the_request_time_that_agents_really_use")],
        "the time a request may take is part of T, and T is published and waited for (C046); a formula over the number of workers is not kept, see C044"),
    ("C064", &[("host/controller/tests/around.rs", "c064_a_remediation_of_a_machine_is_about_its_node")], ""),
    ("C082", &[(MACHINE, "fed")], ""),
    ("C085", &[("host/controller/tests/remediation.rs", "deleting_a_remediation_before_the_proof_is_an_abort")], ""),
    ("C086", &[(CASES, "c086_the_boot_after_it_does_not_end_for_the_same_intent"), (MACHINE, "one_reset_is_enough")], ""),
    ("C087", &[(MACHINE, "one_reset_is_enough")], ""),
    ("C088", &[(CASES, "c088_a_device_that_is_triggered_and_does_not_fire_is_helped_by_software_again_and_again"), ("tests/vm/src/scenario.rs", "prepare")],
        "software does not wait 30 s for the device: it acts at once, and again until the boot has ended; on a real kernel the device is a softdog that only logs (scenario dud)"),
    ("C089", &[(CASES, "c089_with_a_busy_device_the_agent_runs_and_a_trigger_resets_by_software"), (CASES, "c089_with_a_device_that_does_not_tell_its_timeout_too"), (MACHINE, "without_device")], ""),
    ("C090", &[(CASES, "c090_with_software_reboot_disabled_it_never_resets_and_never_says_that_it_would"), (MACHINE, "helpless")],
        "that the node says false, and is not taken up, is C081 here"),
    ("C093", &[(CASES, "c093_a_stop_while_a_fence_is_pending_disarms_nothing"), ("host/agent/tests/cluster.rs", "a_stop_without_the_api_leaves_the_watchdog_armed"), ("tests/vm/src/scenario.rs", "act")], ""),
    ("C094", &[("host/agent/tests/cluster.rs", "a_fenced_boot_is_not_fed_by_the_next_process_either")], ""),
    ("C097", &[(CASES, "c097_below_the_threshold_no_peer_is_contacted_and_success_begins_anew")], ""),
    ("C098", &[(CASES, "c098_after_a_peer_helped_peers_are_asked_again_only_after_another_full_threshold")], ""),
    ("C100", &[(CASES, "c100_two_agents_without_api_reboot_neither"), (CASES, "c100_three_agents_without_api_reboot_none"), (CASES, "c100_five_agents_without_api_reboot_none"), (CASES, "c100_twenty_agents_without_api_reboot_none")], ""),
    ("C101", &[("host/agent/tests/cluster.rs", "an_isolated_node_ends_itself_within_t_and_nobody_else_does"), (CASES, "c101_a_peers_answer_lets_an_isolated_node_live_for_t_from_it_and_not_longer")],
        "the grace after a peer's answer is T, not a constant of 30 s"),
    ("C102", &[("host/agent/tests/famous.rs", "snr_312_a_node_without_peers_survives_an_api_outage"), ("host/agent/tests/famous.rs", "snr_312_a_node_without_peers_that_was_told_so_ends_in_isolation")], ""),
    ("C104", &[("host/rpc/tests/peer_health.rs", "c104_the_numbers_on_the_wire"), ("host/agent/src/stock/tests.rs", "c104_no_remediation_is_healthy_and_one_for_the_node_is_not"), ("host/agent/src/stock/tests.rs", "c104_an_api_server_that_fails_or_hangs_is_an_api_error_within_the_limit"), ("host/agent/src/stock/tests.rs", "c104_a_remediation_is_found_by_the_machine")],
        "remediations are looked for in the agents' namespace only"),
    ("C105", &[("host/rpc/tests/peer_health.rs", "c105_whoever_breaks_a_rule_is_refused")], ""),
    ("C106", &[("host/agent/tests/control_plane.rs", "c106_workers_silent_and_a_control_plane_peer_without_api_answers_it_stays")],
        "real agents under controlPlanePolicy Diagnose (without it such a node ends like every other, snr_339 in famous.rs); no peer, a healthy one and an intent are the other three tests named c106 there"),
    ("C107", &[("host/agent/tests/control_plane.rs", "c107_most_workers_without_api_and_the_kubelet_alive_it_stays")],
        "dead kubelet and lost endpoint are the other two tests named c107 there, with diagnostics that the test decides; the real ones are c107 in host/agent/src/diagnose/tests.rs"),
];

/// Neither a case here nor a named test elsewhere, each with the reason.
#[rustfmt::skip]
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("C044", "replaced: the wait is what the agent published, not a formula over the number of workers (W11); see C046. Publishing the formula's number beside it would name an instant at which nothing happens"),
    ("C045", "replaced, as C044: without a published lease there is no proof by time; see C037"),
    ("C049", "replaced: one parallel round to at most 15 peers, so the number of nodes has no part in the wait"),
    ("C103", "replaced: one parallel round instead of batches; that it takes no longer than dialling and one request is part of T"),
];

/// Listed ids without a case of this suite, each with what is to be said about it.
pub fn not_here() -> impl Iterator<Item = (Listed, String)> {
    SELF_NODE_REMEDIATION.iter().filter_map(|listed| {
        let elsewhere = ELSEWHERE.iter().find(|(id, ..)| *id == listed.0);
        let elsewhere = elsewhere.map(|(_, tests, less)| {
            let named: Vec<String> = tests.iter().map(|(file, test)| format!("{file}, {test}")).collect();
            let more = if less.is_empty() { String::new() } else { format!(" ({less})") };
            format!("proven elsewhere: {}{more}", named.join("; "))
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
        for (id, tests, _) in ELSEWHERE {
            for (file, function) in *tests {
                let text = std::fs::read_to_string(root.join(file)).unwrap_or_default();
                assert!(text.contains(&format!("fn {function}(")), "{id}: {file} has no test {function}");
            }
        }
    }
}
