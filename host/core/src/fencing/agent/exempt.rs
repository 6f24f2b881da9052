//! R4: a control-plane node whose lease says so may exempt itself from ending at `L`.
//!
//! Either another control-plane node answers a question, whatever it says (but "there is an intent for you" ends this
//! boot here as everywhere), or the majority of the workers say that nobody can write to the API and this node's own
//! diagnostics, begun with the question, pass. In return P3 is not available for such a boot.
//!
//! Silence of the workers is none of the two: a node that nobody answers ends itself, however well it feels.

use std::collections::BTreeSet;

use super::types::{Level, Peer, RequestId};
use super::{Agent, Request};
use crate::fencing::record::JURY_LIMIT;
use crate::time::Mono;

/// What became of the self diagnostics beside one question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Diagnosis {
    /// The lease did not say that this node may exempt itself when the question was sent.
    NotWanted,
    UnderWay,
    Passed,
    Failed,
}

impl Request {
    fn control_plane(&self) -> BTreeSet<&str> {
        self.peers.iter().filter(|peer| peer.control_plane).map(|peer| peer.node.as_str()).collect()
    }

    /// Nothing more can come of it.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.len() == self.peers.len() && self.diagnosis != Diagnosis::UnderWay
    }
}

impl Agent {
    /// Control-plane nodes to be asked beside the jury.
    pub(super) fn fellows(&self) -> Vec<Peer> {
        if !self.life.may_exempt() {
            return Vec::new();
        }
        let others = self.roster.iter().filter(|peer| peer.control_plane && peer.node != self.me.node);
        others.take(JURY_LIMIT).cloned().collect()
    }

    /// A peer answered this question and said anything but "intent" and "relayed".
    pub(super) fn fellow_answered(&mut self, now: Mono, peer: &Peer, sent: Mono) {
        if peer.control_plane && self.life.may_exempt() {
            let node = &peer.node;
            self.say(Level::Warn, format!("control-plane node {node} answers: no reboot (R4)"));
            self.life.extend(sent);
            self.contact(now);
        }
    }

    pub(super) fn diagnosed(&mut self, now: Mono, id: RequestId, result: Result<(), String>) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        if self.fence.is_some() || request.diagnosis != Diagnosis::UnderWay {
            return;
        }
        request.diagnosis = if result.is_ok() { Diagnosis::Passed } else { Diagnosis::Failed };
        if let Err(why) = result {
            self.say(Level::Warn, format!("self diagnostics do not pass: {why}"));
        }
        self.judge_outage(now, id);
        self.over_if_answered(now, id);
    }

    /// R3; or, where the lease says that this node may exempt itself, a majority of the workers and its own diagnostics
    /// (R4). Where there are diagnostics they have to pass for R3, too: a control-plane node that is itself ill is no
    /// witness of an outage.
    pub(super) fn judge_outage(&mut self, now: Mono, id: RequestId) {
        let Some(request) = self.requests.get(&id) else { return };
        let Some(sent) = request.sent else { return };
        let exempt = self.life.may_exempt();
        let by_jury = self.life.outage_confirmed_by(&request.no_api);
        let by_workers = self.life.outage_confirmed_by_workers(&request.no_api, &request.control_plane());
        let outage = match request.diagnosis {
            Diagnosis::NotWanted => by_jury,
            Diagnosis::Passed => by_jury || (exempt && by_workers),
            // One that the lease no longer lets exempt itself is judged like every other.
            Diagnosis::UnderWay | Diagnosis::Failed => by_jury && !exempt,
        };
        if outage {
            let count = request.no_api.len();
            let rule = if by_jury { "" } else { " and this control-plane node is well (R4)" };
            self.say(Level::Warn, format!("{count} peers cannot write to the API either{rule}: outage, no reboot"));
            self.life.extend(sent);
            self.contact(now);
        }
    }
}
