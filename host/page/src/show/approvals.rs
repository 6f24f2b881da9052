//! The questions that wait for people.

use jiff::Timestamp;
use palisade_api::keys::approval::{APPROVE, CONFIRM, DENY};
use palisade_explain::questions;
use serde::Serialize;

use crate::auth::Wish;
use crate::board::Seen;

/// A question that waits.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// Kind of the remediation.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: an answer is for this very object.
    pub uid: String,
    /// The node.
    pub node: String,
    /// `ApproveAction` or `ConfirmIsolated`.
    pub question: String,
    /// What is asked, in words.
    pub message: String,
    /// The boot that is asked about.
    pub boot: String,
    /// What an answer repeats.
    pub code: String,
    /// So many different persons have to say yes.
    pub persons: u32,
    /// Who did so far, and counts.
    pub given: Vec<String>,
    /// Answers that did not count, and why.
    pub refused: Vec<String>,
    /// When it was asked.
    pub asked: Option<Timestamp>,
    /// Answers after this time do not count.
    pub expires: Option<Timestamp>,
    /// Whether whoever looks may say yes.
    pub may_say_yes: bool,
    /// Whether they may say no.
    pub may_say_no: bool,
    /// The rights that they lack, in the words of `kubectl auth can-i`.
    pub lacking: Vec<String>,
}

/// An answer that can be given here. Breaking the glass is not one: that is for the CLI, with its warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The action may be taken.
    Approve,
    /// The node is isolated.
    Confirm,
    /// No.
    Deny,
}

impl Kind {
    /// The annotation that says it.
    pub fn key(self) -> &'static str {
        match self {
            Self::Approve => APPROVE,
            Self::Confirm => CONFIRM,
            Self::Deny => DENY,
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Confirm => "confirm",
            Self::Deny => "deny",
        }
    }

    /// What it takes: to change this very remediation, and to answer in its namespace.
    pub fn wishes(self, kind: &str, namespace: &str, name: &str) -> Option<[Wish; 2]> {
        let resource = questions::kind(kind)?;
        Some([
            Wish {
                verb: "patch",
                group: resource.group,
                resource: resource.plural,
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            Wish {
                verb: self.verb(),
                group: palisade_api::keys::palisade::GROUP.to_owned(),
                resource: "approvals".to_owned(),
                namespace: namespace.to_owned(),
                name: String::new(),
            },
        ])
    }
}

/// The yes that a question waits for.
pub fn kind_of(question: &str) -> Kind {
    if question == "ApproveAction" { Kind::Approve } else { Kind::Confirm }
}

/// The oldest first. The rights are for the caller to fill in.
pub fn approvals(seen: &Seen) -> Vec<Approval> {
    let mut all = Vec::new();
    for one in seen.remediations().filter(|one| !one.said.deleting) {
        for question in one.said.progress.iter().flat_map(|progress| &progress.questions) {
            if question.state != "Pending" {
                continue;
            }
            let counted = question.answers.iter().filter(|answer| answer.refused.is_none() && answer.says != "no");
            let refused = question.answers.iter().filter_map(|answer| {
                answer.refused.as_ref().map(|why| format!("{} said {}: {why}", answer.who, answer.says))
            });
            all.push(Approval {
                kind: one.said.kind.clone(),
                namespace: one.said.namespace.clone(),
                name: one.said.name.clone(),
                uid: one.uid.clone(),
                node: one.said.node.clone(),
                question: question.question.clone(),
                message: question.message.clone(),
                boot: question.boot_id.clone(),
                code: question.code.clone(),
                persons: question.persons,
                given: counted.map(|answer| format!("{}: {}", answer.who, answer.why)).collect(),
                refused: refused.collect(),
                asked: question.asked.as_ref().map(|at| at.0),
                expires: question.expires.as_ref().map(|at| at.0),
                may_say_yes: false,
                may_say_no: false,
                lacking: Vec::new(),
            });
        }
    }
    all.sort_by_key(|one| one.asked);
    all
}
