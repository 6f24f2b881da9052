//! What a session tells: the timeline of the remediation, and the state that its passes see.

use std::sync::PoisonError;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use palisade_api::Stage;
use palisade_core::fencing::record::BootId;
use palisade_runtime::FenceStage;

use super::super::Happened;
use super::{NEWS_GAP, Session};
use crate::clock;

impl Session {
    /// Has the remediation looked at, if there is news that waited for it.
    pub(super) fn tell(&mut self) {
        if self.news.is_some_and(|news| news <= clock::now()) {
            self.news = None;
            self.context.triggers.fire(&self.wanted.target);
        }
    }

    /// What the prover reached, put into the words of the timeline.
    pub(super) fn note_progress(&mut self) {
        if let Some(intent) = self.prover.intent().cloned() {
            let boot = intent.boot_id.to_string();
            let marked: Vec<String> =
                self.state.marked.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
            let pods = if marked.is_empty() { "no pods of the first class".to_owned() } else { marked.join(", ") };
            let at = self.marked_at.clone().unwrap_or_else(clock::wall);
            self.happened_at(at, Stage::Marked, &format!("boot {boot}"), format!("boot {boot}: own taint, {pods}"));
            self.happened(
                Stage::Intended,
                &intent.uid,
                format!(
                    "intent {} for boot {boot}: T {:.1}s, 2 Wd {:.1}s, jury of {}",
                    intent.uid,
                    intent.terms.time_to_live().as_secs_f64(),
                    intent.terms.reset_bound().as_secs_f64(),
                    intent.terms.jury.len()
                ),
            );
            self.state.stage = FenceStage::Intended;
            if let Some(intended) = self.prover.intended() {
                self.state.spans.intended.get_or_insert(intended);
            }
            if self.prover.quorum_reached() {
                self.state.spans.promised.get_or_insert_with(clock::now);
                self.state.stage = FenceStage::Promised;
                let (promised, quorum) = self.prover.promised().unwrap_or_default();
                let detail = format!(
                    "{promised} of {} jurors, {quorum} needed, for intent {}",
                    intent.terms.jury.len(),
                    intent.uid
                );
                self.happened(Stage::Promised, &intent.uid, detail);
            }
            if let Some(true) = self.last.as_ref().and_then(|read| read.snapshot.lease.as_ref()).map(|lease| {
                lease.record.as_ref().is_some_and(|record| record.acknowledged.as_ref() == Some(&intent.uid))
            }) {
                self.happened(
                    Stage::Acknowledged,
                    &intent.uid,
                    format!("the agent stopped feeding for intent {}", intent.uid),
                );
            }
            self.state.boot = Some(intent.boot_id);
            self.state.intent_uid = Some(intent.uid);
            self.state.quorum = self.prover.promised().map_or(0, |(_, quorum)| quorum);
            self.state.promised = self.prover.jurors();
            self.state.lease_uid =
                self.last.as_ref().and_then(|read| read.snapshot.lease.as_ref()).map(|lease| lease.uid.clone());
        }
    }

    pub(super) fn happened(&mut self, stage: Stage, about: &str, detail: String) {
        self.happened_at(clock::wall(), stage, about, detail);
    }

    fn happened_at(&mut self, at: Time, stage: Stage, about: &str, detail: String) {
        if !self.state.happened.iter().any(|known| known.stage == stage && known.about == about) {
            self.state.happened.push(Happened { stage, at, about: about.to_owned(), detail });
        }
    }

    pub(super) fn publish(&mut self) {
        let now_proven = self.prover.proof().is_some();
        self.state.contradiction = self.prover.contradiction().map(str::to_owned);
        self.state.waiting_for = match (&self.state.proof, self.boot_changed) {
            (Some(proof), Some(_)) if now_proven && !self.state.usable => format!(
                "boot {} of the node to become ready and confirm the marked pods",
                proof.new_boot.as_ref().map_or("?", BootId::as_str)
            ),
            _ if now_proven => String::new(),
            _ => self.prover.waiting_for(),
        };
        if let Some(deadline) = self.prover.deadline() {
            self.state.deadline = Some(deadline);
        }
        if now_proven {
            self.state.usable |= self.boot_changed.is_none();
            self.state.stage = if self.state.usable { FenceStage::Proven } else { FenceStage::Promised };
        } else {
            self.state.proof = None;
            self.state.usable = false;
            if self.prover.intent().is_none() && self.state.stage > FenceStage::Marked {
                // It began again.
                self.state.stage = FenceStage::Marked;
            }
        }
        if self.state.contradiction.is_some() {
            self.state.stage = FenceStage::Contradicted;
        }
        let (changed, urgent) = {
            let mut published = self.published.lock().unwrap_or_else(PoisonError::into_inner);
            let changed = *published != self.state;
            // Something may be done now, or must not be done any more.
            let urgent = published.usable_proof() != self.state.usable_proof()
                || published.contradiction != self.state.contradiction;
            if changed {
                published.clone_from(&self.state);
            }
            (changed, urgent)
        };
        if changed {
            let now = clock::now();
            let news = if urgent { now } else { now + NEWS_GAP };
            self.news = Some(self.news.map_or(news, |known| known.min(news)));
            self.tell();
        }
    }
}
