//! Every id that the specification of NodeHealthCheck lists, so that none is missing without a word.

use crate::case::Tag;

/// An id, its section, how binding it is.
pub type Listed = (&'static str, &'static str, Tag);

/// Section 8 of the specification.
#[rustfmt::skip]
pub const NODE_HEALTH_CHECK: &[Listed] = &[
    ("C02", "8.1", Tag::Fix),
    ("C03", "8.1", Tag::Keep),
    ("C05", "8.1", Tag::Keep),
    ("C07", "8.1", Tag::Keep),
    ("C09", "8.1", Tag::Keep),
    ("C10", "8.1", Tag::Keep),
    ("C11", "8.1", Tag::Keep),
    ("A01", "8.2", Tag::Keep),
    ("A02", "8.2", Tag::Keep),
    ("A06", "8.2", Tag::Keep),
    ("A07", "8.2", Tag::Keep),
    ("A08", "8.2", Tag::Keep),
    ("A09", "8.2", Tag::Keep),
    ("A10", "8.2", Tag::Keep),
    ("A11", "8.2", Tag::Keep),
    ("A12", "8.2", Tag::Keep),
    ("A13", "8.2", Tag::Keep),
    ("A14", "8.2", Tag::Keep),
    ("A15", "8.2", Tag::Keep),
    ("A16", "8.2", Tag::Fix),
    ("A17", "8.2", Tag::Fix),
    ("A18", "8.2", Tag::Fix),
    ("H01", "8.3", Tag::Keep),
    ("H02", "8.3", Tag::Keep),
    ("H03", "8.3", Tag::Keep),
    ("H04", "8.3", Tag::Keep),
    ("H06", "8.3", Tag::Keep),
    ("H07", "8.3", Tag::Keep),
    ("H10", "8.3", Tag::Keep),
    ("H11", "8.3", Tag::Design),
    ("H12", "8.3", Tag::Keep),
    ("T01", "8.4", Tag::Keep),
    ("T02", "8.4", Tag::Keep),
    ("T04", "8.4", Tag::Keep),
    ("T06", "8.4", Tag::Keep),
    ("T07", "8.4", Tag::Fix),
    ("T08", "8.4", Tag::Fix),
    ("T09", "8.4", Tag::Keep),
    ("T10", "8.4", Tag::Keep),
    ("R01", "8.5", Tag::Keep),
    ("R02", "8.5", Tag::Keep),
    ("R03", "8.5", Tag::Keep),
    ("R04", "8.5", Tag::Keep),
    ("R05", "8.5", Tag::Keep),
    ("R06", "8.5", Tag::Fix),
    ("R07", "8.5", Tag::Keep),
    ("R08", "8.5", Tag::Keep),
    ("R09", "8.5", Tag::Keep),
    ("R10", "8.5", Tag::Keep),
    ("R13", "8.5", Tag::Fix),
    ("R14", "8.5", Tag::Keep),
    ("R15", "8.5", Tag::Keep),
    ("E01", "8.6", Tag::Keep),
    ("E03", "8.6", Tag::Keep),
    ("E05", "8.6", Tag::Keep),
    ("E06", "8.6", Tag::Keep),
    ("E07", "8.6", Tag::Keep),
    ("E08", "8.6", Tag::Fix),
    ("E10", "8.6", Tag::Keep),
    ("E12", "8.6", Tag::Keep),
    ("L01", "8.7", Tag::Keep),
    ("L02", "8.7", Tag::Keep),
    ("L03", "8.7", Tag::Keep),
    ("L04", "8.7", Tag::Keep),
    ("L06", "8.7", Tag::Keep),
    ("L10", "8.7", Tag::Fix),
    ("L11", "8.7", Tag::Fix),
    ("L12", "8.7", Tag::Keep),
    ("D01", "8.8", Tag::Keep),
    ("D02", "8.8", Tag::Keep),
    ("D03", "8.8", Tag::Keep),
    ("D05", "8.8", Tag::Keep),
    ("D06", "8.8", Tag::Keep),
    ("D08", "8.8", Tag::Keep),
    ("D10", "8.8", Tag::Fix),
    ("O01", "8.9", Tag::Keep),
    ("O02", "8.9", Tag::Keep),
    ("O04", "8.9", Tag::Fix),
    ("O05", "8.9", Tag::Fix),
    ("P02", "8.10", Tag::Keep),
    ("P03", "8.10", Tag::Keep),
    ("P04", "8.10", Tag::Keep),
    ("P05", "8.10", Tag::Keep),
    ("P06", "8.10", Tag::Keep),
    ("P08", "8.10", Tag::Keep),
    ("P09", "8.10", Tag::Fix),
    ("X01", "8.11", Tag::Keep),
    ("X04", "8.11", Tag::Keep),
    ("X05", "8.11", Tag::Keep),
    ("X06", "8.11", Tag::Keep),
    ("X07", "8.11", Tag::Keep),
    ("X08", "8.11", Tag::Fix),
    ("X09", "8.11", Tag::Keep),
    ("X11", "8.11", Tag::Keep),
    ("X12", "8.11", Tag::Keep),
    ("X13", "8.11", Tag::Design),
    ("S04", "8.11", Tag::Keep),
    ("S05", "8.11", Tag::Keep),
    ("S06", "8.11", Tag::Keep),
    ("S07", "8.11", Tag::Fix),
    ("S08", "8.11", Tag::Fix),
    ("M03", "8.12", Tag::Keep),
    ("M04", "8.12", Tag::Keep),
    ("M07", "8.12", Tag::Keep),
];

/// Ids that the specification keeps back but names in its core set or leaves as gaps between others. What they ask for
/// is our reading of its sections 1 to 7; a case with such an id is automated as far as that reading goes.
pub const KEPT_BACK: &[&str] = &[
    "C01", "C04", "C06", "C08", "A03", "A04", "A05", "H05", "H08", "H09", "T03", "T05", "R11", "R12", "E02", "E04",
    "E09", "E11", "L05", "L07", "L08", "L09", "D04", "D07", "D09", "O03", "O06", "P01", "P07", "X02", "X03", "X10",
    "S01", "S02", "S03", "M01", "M05", "M06",
];

/// Listed ids that no case automates, each with the reason.
pub const LEFT_OUT: &[(&str, &str)] = &[];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_listed_id_is_automated_or_left_out_for_a_reason() {
        let automated: BTreeSet<&str> = crate::cases::all().iter().map(|case| case.id).collect();
        let left_out: BTreeSet<&str> = LEFT_OUT.iter().map(|(id, _)| *id).collect();
        for (id, ..) in NODE_HEALTH_CHECK {
            assert!(automated.contains(id) != left_out.contains(id), "{id} is neither or both");
        }
    }

    #[test]
    fn tags_are_those_of_the_specification() {
        let cases = crate::cases::all();
        for (id, section, tag) in NODE_HEALTH_CHECK {
            for case in cases.iter().filter(|case| case.id == *id) {
                assert_eq!((case.section, case.tag), (*section, *tag), "{id}");
            }
        }
    }

    #[test]
    fn no_id_is_used_twice() {
        let cases = crate::cases::all();
        let ids: BTreeSet<&str> = cases.iter().map(|case| case.id).collect();
        assert_eq!(ids.len(), cases.len());
    }
}
