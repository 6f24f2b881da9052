//! The way through peers: one parallel round to the jury, in which any peer may relay (R2) and a majority may confirm
//! that nobody can write (R3).

use std::time::Duration;

use super::types::{Level, Peer, RequestId};
use super::{Agent, Kind, Then};
use crate::fencing::juror::PeerAnswer;
use crate::fencing::record::JURY_LIMIT;
use crate::time::Mono;

/// The rounds.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Asking {
    pub(super) inflight: Option<RequestId>,
    deadline: Mono,
    pub(super) due: Mono,
    /// A juror woke this node, and no round began since.
    woken: bool,
    /// When one was listened to last.
    listened: Mono,
}

impl Asking {
    /// An extension was won: this round needs no further answers.
    pub(super) fn over(&mut self) {
        self.inflight = None;
        self.due = Mono::default();
    }
}

impl Agent {
    /// One round: dialling and one request, all peers in parallel.
    fn round(&self) -> Duration {
        self.settings.tuning.peer_dial_timeout + self.settings.tuning.effective_peer_request_timeout()
    }

    /// Shortest time between two rounds that nothing but failures or jurors call for.
    fn breath(&self) -> Duration {
        (self.settings.tuning.api_check_interval / 5).clamp(Duration::from_millis(100), Duration::from_secs(3))
    }

    /// Pause between rounds that won nothing.
    fn pause(&self) -> Duration {
        self.spread(self.breath())
    }

    /// The last moment at which a round can still be answered before `L`.
    fn last_round(&self) -> Option<Mono> {
        self.life.until().map(|until| until - self.round() * 5 / 4)
    }

    /// When peers are to be asked: after the threshold of failures, when only one round fits before the end, or when a
    /// juror said that it is worth while.
    fn ask_due(&self) -> Option<Mono> {
        if !self.identity || self.stopping.is_some() {
            return None;
        }
        if self.asking.woken {
            return Some(self.asking.due);
        }
        if self.direct.failures == 0 {
            return None;
        }
        if self.direct.failures >= self.settings.tuning.max_api_error_threshold.max(1) {
            return Some(self.asking.due);
        }
        self.last_round().map(|last| last.max(self.asking.due))
    }

    /// Somebody says that it is worth asking now. Only jurors are listened to, and not more often than rounds that fail
    /// are repeated: a stranger could otherwise make every node ask without pause. It brings one round forward and changes
    /// nothing else, so whoever lies costs requests and no life.
    pub(super) fn woken(&mut self, now: Mono, by: &str) {
        let quiet = self.asking.listened + self.breath();
        if self.fence.is_some() || self.stopping.is_some() || now < quiet || !self.life.jurors().contains(by) {
            return;
        }
        self.asking.listened = now;
        self.asking.woken = true;
        self.say(Level::Info, format!("{by} asks this node to look: its peers are asked now"));
    }

    pub(super) fn ask_deadline(&self) -> Option<Mono> {
        if self.asking.inflight.is_some() { Some(self.asking.deadline) } else { self.ask_due() }
    }

    pub(super) fn ask_step(&mut self, now: Mono) {
        if self.asking.inflight.is_some() {
            if now < self.asking.deadline {
                return;
            }
            self.round_over(now);
        }
        if self.ask_due().is_none_or(|due| now < due) {
            return;
        }
        self.asking.woken = false;
        let peers = self.whom_to_ask();
        if peers.is_empty() {
            self.asking.due = now + self.pause();
            return;
        }
        let record = self.next_record(now);
        let id = self.remember(Kind::Ask, Some(record), peers);
        self.asking.inflight = Some(id);
        self.asking.deadline = now + self.round();
        self.store(Then::Send(id));
    }

    /// Every juror that may be in force, where it was reached last; without a jury anybody who could relay. By R4 other
    /// control-plane nodes, too.
    fn whom_to_ask(&self) -> Vec<Peer> {
        let jurors = self.life.jurors();
        if jurors.is_empty() {
            return self.roster.iter().filter(|peer| peer.node != self.me.node).take(JURY_LIMIT).cloned().collect();
        }
        let fellows = self.fellows().into_iter().filter(|fellow| !jurors.contains(&fellow.node));
        jurors.iter().filter_map(|juror| self.addresses.get(juror)).cloned().chain(fellows).collect()
    }

    fn round_over(&mut self, now: Mono) {
        self.asking.inflight = None;
        self.asking.due = now + self.pause();
        let left = self.life.until().map(|until| until.since(now));
        self.say(Level::Warn, format!("no peer could help in this round; {left:?} left to live"));
    }

    pub(super) fn peer_answered(&mut self, now: Mono, id: RequestId, node: &str, answer: PeerAnswer) {
        let asked = self.requests.get(&id).and_then(|request| request.peers.iter().find(|peer| peer.node == node));
        let Some(peer) = asked.cloned() else { return };
        if let PeerAnswer::IntentExists { uid, boot_id } = &answer {
            // Beats any number of other answers, for whatever request.
            if *boot_id == self.me.boot_id {
                self.fenced_by_intent(now, uid.clone(), Some(peer));
            }
            return;
        }
        let Some(request) = self.requests.get_mut(&id) else { return };
        request.answered.insert(node.to_owned());
        let (Some(record), Some(sent)) = (request.record.clone(), request.sent) else { return };
        if record.acknowledged.is_some() {
            if answer == PeerAnswer::Relayed {
                self.acknowledged(now);
            }
            return;
        }
        if self.fence.is_some() {
            return;
        }
        match answer {
            PeerAnswer::Relayed => {
                self.say(Level::Info, format!("{node} stored the lease record for this node"));
                self.life.confirm(record.sequence, &record.terms);
                self.life.extend(sent);
                self.renewed(now, id, sent);
            }
            PeerAnswer::NoApi => {
                request.no_api.insert(node.to_owned());
                self.judge_outage(now, id);
                self.fellow_answered(now, &peer, sent);
            }
            PeerAnswer::Undecided { why } => {
                self.say(Level::Info, format!("{node} cannot tell: {why}"));
                self.fellow_answered(now, &peer, sent);
            }
            PeerAnswer::Unknown { why } => self.say(Level::Info, format!("no answer from {node}: {why}")),
            PeerAnswer::IntentExists { .. } => {}
        }
        self.over_if_answered(now, id);
    }

    pub(super) fn over_if_answered(&mut self, now: Mono, id: RequestId) {
        if self.requests.get(&id).is_some_and(super::Request::is_answered) {
            // Nobody else can answer it.
            self.requests.remove(&id);
            if self.asking.inflight == Some(id) {
                self.round_over(now);
            }
        }
    }
}
