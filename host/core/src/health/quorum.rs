//! Does etcd keep its quorum without one node?
//!
//! Only what was seen to be well counts: a member that did not answer is no support. Voters are all members that are not
//! learners; a quorum is more than half of them, dead ones included.
//!
//! | the node runs | the voters elsewhere that are well | decision |
//! | --- | --- | --- |
//! | no voter | any | allowed: it has no vote to lose |
//! | a voter | a quorum | allowed |
//! | a voter that says itself that it is not well | fewer | allowed: it does not count already, and only its return can help |
//! | a voter that is well, or of which nobody knows | fewer | refused |
//!
//! When no member can be matched with any node, every node is taken to run one that is well. A single member is a quorum
//! of one and is never taken down by this guard.

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It answered, has a leader and reaches it.
    Well,
    /// It answered that it is not well.
    Ill,
    /// Nobody knows: it did not answer, or what its pod says may be old.
    Unknown,
}

/// A member of etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name, or its identity if it has not started yet.
    pub name: String,
    /// The node that it runs on, if that is known.
    pub node: Option<String>,
    /// It has no vote yet.
    pub learner: bool,
    /// How it is.
    pub health: Health,
}

/// What the loss of a node means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The quorum would be at risk.
    pub refused: bool,
    /// Which members were counted, and how.
    pub counted: String,
    /// What would allow it; empty if it is allowed.
    pub unblock: String,
}

/// Decides whether the node may be lost.
pub fn without(node: &str, members: &[Member]) -> Decision {
    let voters: Vec<&Member> = members.iter().filter(|member| !member.learner).collect();
    let quorum = voters.len() / 2 + 1;
    let known_places = voters.iter().any(|member| member.node.is_some());
    let here: Vec<&Member> = voters.iter().filter(|member| member.node.as_deref() == Some(node)).copied().collect();
    let well: Vec<&Member> = voters
        .iter()
        .filter(|member| member.health == Health::Well && member.node.as_deref() != Some(node))
        .copied()
        .collect();
    // A voter of which nobody knows where it runs may be the one on this node.
    let homeless = voters.iter().filter(|member| member.node.is_none()).count();
    let hosts = !here.is_empty() || homeless > 0;
    let left = if here.is_empty() && homeless > 0 { well.len().saturating_sub(1) } else { well.len() };
    let already_lost = !here.is_empty() && here.iter().all(|member| member.health == Health::Ill);
    let refused = voters.is_empty() || hosts && left < quorum && !already_lost;
    let place = match here.as_slice() {
        [] if homeless > 0 && !known_places => {
            format!("no member can be matched with a node, so {node} is taken to run one")
        }
        [] if homeless > 0 => format!("{node} may run one of the members of which the node is not known"),
        [] => format!("{node} runs no voting member"),
        [member] => format!("{node} runs member {} ({})", member.name, member.health.word()),
        several => format!("{node} runs {} members", several.len()),
    };
    let counted = format!(
        "etcd has {} voting members ({}), a quorum is {quorum}; {place}, and {left} well ones would be left",
        voters.len(),
        members.iter().map(Member::describe).collect::<Vec<_>>().join(", "),
    );
    let unblock = match (refused, voters.len()) {
        (false, _) => String::new(),
        (true, 0 | 1) => {
            "a single member is always needed; add members, or set etcd.guard to Off to accept the outage".to_owned()
        }
        (true, _) => format!("it is allowed when {quorum} members on other nodes are well; repair those that are not"),
    };
    Decision { refused, counted, unblock }
}

impl Health {
    const fn word(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Ill => "not well",
            Self::Unknown => "does not answer",
        }
    }
}

impl Member {
    fn describe(&self) -> String {
        let node = self.node.as_ref().filter(|node| **node != self.name).map(|node| format!(" on {node}"));
        let learner = if self.learner { "learner, " } else { "" };
        format!("{}{}: {learner}{}", self.name, node.unwrap_or_default(), self.health.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `m0+ m1- m2? m3+L x+@`: well, ill, unknown, learner; `@`: nobody knows its node, otherwise it has its name.
    fn members(text: &str) -> Vec<Member> {
        let member = |word: &str| Member {
            name: word[..2].trim_end_matches(['+', '-', '?']).to_owned(),
            node: (!word.contains('@')).then(|| word[..2].to_owned()),
            learner: word.contains('L'),
            health: match word {
                _ if word.contains('+') => Health::Well,
                _ if word.contains('-') => Health::Ill,
                _ => Health::Unknown,
            },
        };
        text.split_whitespace().map(member).collect()
    }

    #[test]
    fn the_table() {
        for (cluster, node, refused) in [
            // Three, all well: any may go.
            ("m0+ m1+ m2+", "m0", false),
            // The one that is down may be repaired.
            ("m0? m1+ m2+", "m0", false),
            ("m0- m1+ m2+", "m0", false),
            // While it is, no other may go.
            ("m0? m1+ m2+", "m1", true),
            ("m0- m1+ m2+", "m1", true),
            // Two of three are down: one of which nobody knows may live and be needed, one that says it is ill is not.
            ("m0? m1? m2+", "m0", true),
            ("m0- m1- m2+", "m0", false),
            ("m0- m1? m2+", "m0", false),
            // Five stand two losses.
            ("m0? m1+ m2+ m3+ m4+", "m1", false),
            ("m0? m1? m2+ m3+ m4+", "m2", true),
            ("m0? m1? m2+ m3+ m4+", "m1", false),
            // Even numbers are no better than one fewer.
            ("m0+ m1+", "m0", true),
            ("m0+ m1+ m2+ m3?", "m0", true),
            // One alone is never taken down,
            ("m0+", "m0", true),
            ("m0?", "m0", true),
            // unless it says itself that it is ill.
            ("m0-", "m0", false),
            // A learner has no vote: it neither counts nor is missed.
            ("m0+ m1+ m2+L", "m0", true),
            ("m0+ m1+ m2+ m3?L", "m0", false),
            ("m0+ m1+ m2+ m3+L", "m3", false),
            ("m0? m1+ m2+ m3+L", "m3", false),
            // A control-plane node without etcd is not asked about.
            ("m0? m1? m2+", "api", false),
            // Members without a place may be anywhere.
            ("m0+@ m1+@ m2+@", "cp", false),
            ("m0+@ m1+@ m2?@", "cp", true),
            ("m0+ m1+ m2?@", "m3", true),
            // Nothing at all is no quorum.
            ("", "m0", true),
        ] {
            let decision = without(node, &members(cluster));
            assert_eq!(decision.refused, refused, "{cluster} without {node}: {decision:?}");
            assert_eq!(decision.unblock.is_empty(), !refused);
        }
    }

    #[test]
    fn losing_a_node_that_is_allowed_never_loses_a_quorum_that_there_is() {
        // Every cluster of up to five voters in every health, exhaustively.
        for size in 1..=5_usize {
            for state in 0..3_usize.pow(size as u32) {
                let health = |index: usize| match state / 3_usize.pow(index as u32) % 3 {
                    0 => Health::Well,
                    1 => Health::Ill,
                    _ => Health::Unknown,
                };
                let one = |index| Member {
                    name: format!("m{index}"),
                    node: Some(format!("m{index}")),
                    learner: false,
                    health: health(index),
                };
                let members: Vec<Member> = (0..size).map(one).collect();
                let quorum = size / 2 + 1;
                let well = members.iter().filter(|member| member.health == Health::Well).count();
                for member in &members {
                    if without(&member.name, &members).refused {
                        continue;
                    }
                    let lost = usize::from(member.health == Health::Well);
                    assert!(well < quorum || well - lost >= quorum, "{members:?} without {}", member.name);
                }
            }
        }
    }

    #[test]
    fn the_members_that_were_counted_are_named() {
        let decision = without("m1", &members("m0? m1+ m2+ m3+L"));
        assert_eq!(
            decision.counted,
            "etcd has 3 voting members (m0: does not answer, m1: well, m2: well, m3: learner, well), a quorum is 2; m1 runs member m1 (well), and 1 well ones would be left"
        );
        assert_eq!(decision.unblock, "it is allowed when 2 members on other nodes are well; repair those that are not");
    }
}
