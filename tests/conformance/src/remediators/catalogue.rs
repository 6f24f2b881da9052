//! Every id that the specification of the other remediators lists, so that none is missing without a word.

/// Part D of the specification: section, ids.
#[rustfmt::skip]
pub const OTHER_REMEDIATORS: &[(&str, &[&str])] = &[
    ("D.1", &[
        "X-01", "X-03", "X-04", "X-07", "X-08", "X-09", "X-10", "X-11", "X-12", "X-13", "X-14", "X-18",
        "X-19", "X-20", "X-21", "X-22", "X-23", "X-24",
    ]),
    ("D.2", &[
        "MD-01", "MD-02", "MD-03", "MD-04", "MD-05", "MD-08", "MD-09", "MD-10", "MD-11", "MD-12", "MD-14", "MD-15",
        "MD-16", "MD-17", "MD-22", "MD-23", "MD-25",
    ]),
    ("D.3", &[
        "FA-01", "FA-04", "FA-05", "FA-07", "FA-08", "FA-11", "FA-12", "FA-13", "FA-14", "FA-15", "FA-16", "FA-17",
        "FA-18", "FA-19", "FA-22", "FA-23", "FA-24", "FA-25", "FA-26", "FA-27", "FA-28", "FA-29", "FA-30", "FA-31",
        "FA-32", "FA-33", "FA-34",
    ]),
    ("D.4", &[
        "M3-01", "M3-02", "M3-03", "M3-04", "M3-05", "M3-06", "M3-07", "M3-08", "M3-09", "M3-10", "M3-11", "M3-12",
        "M3-13", "M3-14", "M3-15", "M3-16", "M3-17", "M3-18", "M3-19", "M3-20", "M3-21", "M3-22", "M3-23", "M3-24",
        "M3-25",
    ]),
    ("D.5", &[
        "HA-01", "HA-02", "HA-04", "HA-06", "HA-07", "HA-09", "HA-11", "HA-12", "HA-14", "HA-15", "HA-19", "HA-20",
    ]),
    ("D.6", &[
        "CS-02", "CS-04", "CS-07", "CS-08", "CS-09", "CS-12", "CS-13", "CS-14", "CS-15",
    ]),
    ("D.7", &[
        "MH-01", "MH-02", "MH-04", "MH-08", "MH-09", "MH-10", "MH-11", "MH-12", "MH-13", "MH-14", "MH-15", "MH-16",
        "MH-17", "MH-19", "MH-20", "MH-23", "MH-25",
    ]),
    ("D.8", &[
        "SB-02", "SB-03", "SB-04", "SB-05", "SB-06", "SB-07", "SB-08", "SB-13",
    ]),
];

/// No part of ours plays the detector of these cases.
const DETECTOR: &str = "the detector's own behaviour, and Palisade has no MachineHealthCheck: it judges nodes by \
    NodeHealthCheck, and a MachineHealthCheck is a caller here (MH-17 to MH-23, MH-B1 to MH-B4)";
/// Objects of nodes are not deleted.
const NO_NODE_IS_DELETED: &str = "replaced: no node object is ever deleted to release its workloads, so there is \
    nothing to save and to restore; strategies are OutOfServiceTaint and ResourceDeletion";
/// The optional profile.
const SHARED_DISK: &str = "optional profile: there is no remediator by shared disk. That the agent obeys a pending \
    intent after a restart, and how its watchdog is read back, are C093, C094 and C082 of SelfNodeRemediation";

/// Listed ids that no case of this suite automates, each with the reason.
#[rustfmt::skip]
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("X-14", "proven elsewhere: cargo xtask kill-matrix kills the controller at every write of every stock remediator (tests/kill-matrix/src/story)"),
    ("M3-08", "replaced: the power is cycled once, retryLimit bounds the attempts at a switch, and a node that is not ready in its time is handed off (M3-20) instead of being cycled again"),
    ("M3-14", NO_NODE_IS_DELETED),
    ("M3-15", NO_NODE_IS_DELETED),
    ("M3-16", NO_NODE_IS_DELETED),
    ("M3-17", NO_NODE_IS_DELETED),
    ("M3-18", "replaced: the controller lives in the cluster whose nodes it judges; there is no second API server whose rights could differ"),
    ("M3-23", "replaced: the strategy is the one that the parameters name, by no version of a server; one that does not know the out-of-service taint keeps its pods, which status.lastError tells after a minute"),
    ("MH-01", DETECTOR),
    ("MH-02", DETECTOR),
    ("MH-04", DETECTOR),
    ("MH-08", DETECTOR),
    ("MH-09", DETECTOR),
    ("MH-10", DETECTOR),
    ("MH-11", DETECTOR),
    ("MH-12", DETECTOR),
    ("MH-13", DETECTOR),
    ("MH-14", DETECTOR),
    ("MH-15", DETECTOR),
    ("MH-16", DETECTOR),
    ("MH-25", DETECTOR),
    ("SB-02", SHARED_DISK),
    ("SB-03", SHARED_DISK),
    ("SB-04", SHARED_DISK),
    ("SB-05", SHARED_DISK),
    ("SB-06", SHARED_DISK),
    ("SB-07", SHARED_DISK),
    ("SB-08", SHARED_DISK),
    ("SB-13", SHARED_DISK),
];

/// Listed ids without a case of this suite: id, section, why.
pub fn not_here() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let listed = OTHER_REMEDIATORS.iter().flat_map(|(section, ids)| ids.iter().map(move |id| (*id, *section)));
    listed.filter_map(|(id, section)| {
        let (_, why) = LEFT_OUT.iter().find(|(other, _)| *other == id)?;
        Some((id, section, *why))
    })
}

/// One line: how many are cases here, and how many are not.
pub fn summary() -> String {
    let all: usize = OTHER_REMEDIATORS.iter().map(|(_, ids)| ids.len()).sum();
    let left_out = LEFT_OUT.len();
    format!(
        "listed cases of the other remediators: {all}; {} automated here, {left_out} proven elsewhere, replaced or left \
         out with a reason",
        all - left_out
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_listed_id_is_a_case_or_left_out_for_a_reason() {
        let cases = super::super::cases();
        for (section, ids) in OTHER_REMEDIATORS {
            for id in *ids {
                let case = cases.iter().find(|case| case.id == *id);
                let left_out = LEFT_OUT.iter().any(|(other, _)| other == id);
                assert!(case.is_some() != left_out, "{id} is neither or both");
                assert!(case.is_none_or(|case| case.section == *section), "{id} is not of {section}");
            }
        }
    }

    #[test]
    fn only_what_is_listed_is_left_out() {
        let listed: BTreeSet<&str> = OTHER_REMEDIATORS.iter().flat_map(|(_, ids)| ids.iter().copied()).collect();
        assert!(LEFT_OUT.iter().all(|(id, why)| listed.contains(id) && !why.is_empty()));
    }
}
