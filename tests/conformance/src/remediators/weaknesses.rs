//! Unsafe behaviours of the field (part B of the specification), and the cases that show that we do not have them.

/// Weakness, and the ids of its cases.
#[rustfmt::skip]
pub const CASES: &[(&str, &[&str])] = &[
    ("B.1 #1 wrapped errors are never terminal", &["MD-12"]),
    ("B.1 #2 several owners", &["MD-B1-2"]),
    ("B.1 #3 a machine known by name only", &["MD-B1-3"]),
    ("B.1 #4 a machine younger than the remediation", &["MD-25"]),
    ("B.1 #5 and #7 restored by counting", &["MD-22"]),
    ("B.1 #6 a replacement that is not ready", &["MD-01"]),
    ("B.1 #8 nodeRef is not compared", &["MD-14"]),
    ("B.1 #9 a Machine of any group", &["MD-16"]),
    ("B.1 #10 no guard of the quorum", &["MD-08"]),
    ("B.1 #11 not taken back by a time-out", &["MD-23"]),
    ("B.1 #12 deleted while it runs", &["X-10", "X-24"]),
    ("B.1 #15 no Cluster API", &["MD-17"]),
    ("B.2 #1 negative retry count", &["FA-04", "X-22"]),
    ("B.2 #2 missing node parameter", &["FA-05"]),
    ("B.2 #3 a time-out taken for a failure", &["FA-17", "FA-18"]),
    ("B.2 #4 stuck when the node is deleted", &["FA-B4"]),
    ("B.2 #5 other spellings of the action", &["FA-13"]),
    ("B.2 #6 second reboot after a restart", &["FA-19"]),
    ("B.2 #7 panic on an empty list", &["FA-29"]),
    ("B.2 #8 success by exit code", &["FA-30", "FA-B8"]),
    ("B.2 #9 credentials shown", &["FA-12"]),
    ("B.2 #10 no second try", &["FA-16"]),
    ("B.2 #11 a late time-out undoes success", &["FA-B11"]),
    ("B.2 #12 foreign taints removed", &["FA-25", "X-09"]),
    ("B.2 #13 pods of DaemonSets and mirror pods deleted", &["FA-23"]),
    ("B.2 #14 dry run in another form", &["FA-28"]),
    ("B.2 #15 a silent end by wrong parameters", &["FA-34"]),
    ("B.2 #16 events of Nodes lost", &["X-20"]),
    ("B.2 #17 the controller on the node that it fences", &["FA-33"]),
    ("B.3 #1 root by a remediation", &["CS-07", "CS-08"]),
    ("B.3 #2 a job for each look", &["CS-02", "CS-04"]),
    ("B.3 #3 runs while being deleted", &["CS-B3-3"]),
    ("B.3 #4 no status", &["CS-13", "CS-15"]),
    ("B.3 #5 jobs not owned, not ended", &["CS-15", "CS-B3-3", "CS-B3-5"]),
    ("B.3 #6 needs the kubelet of the target", &["CS-12"]),
    ("B.3 #7 empty script, script in logs, image by tag", &["CS-07", "CS-08", "CS-14"]),
    ("B.7 #1 hand-off in one form only", &["MH-B1", "M3-10"]),
    ("B.7 #2 hold leaked", &["M3-12", "X-23"]),
    ("B.7 #3 stuck when the node never returns", &["M3-11"]),
    ("B.7 #5 a lowered limit is no limit", &["M3-09"]),
    ("B.7 #6 back before it is ready", &["M3-20"]),
    ("B.7 #7 no conditions, time-out ignored", &["M3-24"]),
    ("B.7 #8 no strategy", &["M3-21"]),
    ("B.7 #9 nodeRef missing", &["M3-19"]),
    ("B.7 #10 namespace of the host ignored", &["M3-25"]),
    ("B.7 #11 deletion does not restore power", &["M3-13"]),
    ("B.10 #3 removing what was not added", &["X-09", "X-24"]),
    ("B.10 #8 identity by name", &["X-19", "MD-B1-3"]),
    ("B.10 #9 no bounds on integers", &["X-21", "X-22"]),
];

#[cfg(test)]
mod tests {
    use super::CASES;

    #[test]
    fn every_weakness_has_cases_that_exist() {
        let all = crate::cases::all();
        for (weakness, ids) in CASES {
            assert!(!ids.is_empty(), "{weakness}");
            for id in *ids {
                assert!(all.iter().any(|case| case.id == *id), "{weakness}: there is no case {id}");
            }
        }
    }
}
