//! Carrying out what the core wants.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_core::fencing::agent::{Base, Effect, Event, Level, Peer, RequestId, WriteResult};
use palisade_core::fencing::juror::{AskerBounds, PeerAnswer};
use palisade_core::fencing::record::{AgentRecord, RECORD, RECORD_SIGNATURE, encode};
use palisade_rpc::Ask;

use super::background::Writer;
use super::{Input, Node, Outcome, Wrote};
use crate::api::{LeaseChange, StoredLease, WriteFailure};
use crate::juror::lease_seconds;

impl Node {
    pub(super) fn carry_out(&mut self, effects: Vec<Effect>, writer: &Writer) -> Option<Outcome> {
        let mut outcome = None;
        for effect in effects {
            match effect {
                Effect::Permit(until) => {
                    self.leash.permit(until);
                    self.parts.devices.nudge();
                }
                Effect::StopFeeding => self.leash.fence(),
                Effect::WriteHostFile { write, file } => writer.store(write, file),
                Effect::ReadLease { request } => self.read(request),
                Effect::WriteLease { request, record, base } => self.write(request, &record, base),
                Effect::AskPeers { request, record, peers, bounds } => self.ask(request, &record, peers, bounds),
                Effect::Diagnose { request, limit } => self.diagnose(request, limit),
                Effect::OpenWatchdog => self.open_watchdog(),
                Effect::Disarm => self.disarm(),
                Effect::Reset(steps) => {
                    let devices = Arc::clone(&self.parts.devices);
                    self.tasks.spawn(async move { devices.reset(steps).await });
                }
                Effect::Renewed { sent } => self.parts.shared.juror().renewed(sent),
                Effect::Exit { disarmed, why } => outcome = Some(Outcome { disarmed, why }),
                Effect::Say(Level::Info, text) => tracing::info!("{text}"),
                Effect::Say(Level::Warn, text) => tracing::warn!("{text}"),
                Effect::Say(Level::Error, text) => tracing::error!("{text}"),
            }
        }
        outcome
    }

    fn read(&mut self, request: RequestId) {
        let (api, inputs) = (Arc::clone(&self.parts.api), self.sender.clone());
        let (node, limit) = (self.parts.me.node.clone(), self.configured.tuning.api_server_timeout);
        self.tasks.spawn(async move {
            let result = match tokio::time::timeout(limit, api.read(&node)).await {
                Ok(result) => result,
                Err(_) => Err(format!("no answer within {limit:?}")),
            };
            let _ = inputs.send(Input::Read { request, result });
        });
    }

    fn write(&mut self, request: RequestId, record: &AgentRecord, base: Base) {
        let change = self.change(record);
        let (api, inputs) = (Arc::clone(&self.parts.api), self.sender.clone());
        let (node, limit) = (self.parts.me.node.clone(), self.configured.tuning.api_server_timeout);
        self.tasks.spawn(async move {
            let writing = async {
                match api.write(&node, &base, change).await {
                    Ok(lease) => Wrote::Stored(lease),
                    Err(WriteFailure::Failed(why)) => Wrote::Failed(why),
                    Err(WriteFailure::Conflict) => match api.read(&node).await {
                        Ok(lease) => Wrote::Conflict(lease),
                        Err(why) => Wrote::Failed(why),
                    },
                }
            };
            let result = tokio::time::timeout(limit, writing).await;
            let result = result.unwrap_or_else(|_| Wrote::Failed(format!("no answer within {limit:?}")));
            let _ = inputs.send(Input::Wrote { request, result });
        });
    }

    /// The record as signed, the identity in step, and the informational fields of the Lease.
    fn change(&self, record: &AgentRecord) -> LeaseChange {
        let text = encode(record);
        let mut annotations: BTreeMap<String, Option<String>> = self.parts.keyring.annotations();
        let signature = self.parts.keyring.sign(&text).map(|(signature, _)| signature);
        annotations.insert(RECORD_SIGNATURE.to_owned(), signature);
        annotations.insert(RECORD.to_owned(), Some(text));
        let seconds = Some(lease_seconds(record.terms.time_to_live()));
        LeaseChange { annotations, seconds, zone: self.parts.zone.clone() }
    }

    fn ask(&mut self, request: RequestId, record: &AgentRecord, peers: Vec<Peer>, bounds: AskerBounds) {
        let text = encode(record);
        let signed = self.parts.keyring.sign(&text);
        for peer in peers {
            let inputs = self.sender.clone();
            let node = peer.node.clone();
            let Some((signature, certificate)) = signed.clone() else {
                let answer = PeerAnswer::Unknown { why: "this agent cannot sign".into() };
                let _ = inputs.send(Input::event(Event::PeerAnswer { request, node, answer }));
                continue;
            };
            let ask = Ask {
                record: text.clone(),
                signature,
                certificate,
                largest_time_to_live: bounds.largest_time_to_live,
                largest_reset_bound: bounds.largest_reset_bound,
                smallest_time_to_live: bounds.smallest_time_to_live,
            };
            let asker = Arc::clone(&self.parts.peers);
            self.tasks.spawn(async move {
                let answer = asker.ask(peer, ask).await;
                let _ = inputs.send(Input::event(Event::PeerAnswer { request, node, answer }));
            });
        }
    }

    fn diagnose(&mut self, request: RequestId, limit: Duration) {
        let (diagnostics, inputs) = (Arc::clone(&self.parts.diagnostics), self.sender.clone());
        self.tasks.spawn(async move {
            let result = diagnostics.check(limit).await;
            let _ = inputs.send(Input::event(Event::Diagnosed { request, result }));
        });
    }

    fn open_watchdog(&mut self) {
        let (devices, inputs) = (Arc::clone(&self.parts.devices), self.sender.clone());
        let (leash, reports) = (Arc::clone(&self.leash), self.sender.clone());
        self.tasks.spawn(async move {
            let report = Arc::new(move |report| {
                let _ = reports.send(Input::Feeder(report));
            });
            let opened = devices.open_watchdog(leash, report).await;
            let _ = inputs.send(Input::event(Event::WatchdogOpened(opened)));
        });
    }

    fn disarm(&mut self) {
        let (devices, inputs) = (Arc::clone(&self.parts.devices), self.sender.clone());
        self.tasks.spawn(async move {
            let outcome = devices.disarm_watchdog().await;
            let _ = inputs.send(Input::event(Event::WatchdogDisarmed(outcome)));
        });
    }
}

/// A stored object whose intent cannot be read is not known to carry none: that is a failure.
pub(super) fn write_result(result: Wrote) -> WriteResult {
    let readable = |lease: StoredLease| lease.lease();
    match result {
        Wrote::Failed(why) => WriteResult::Failed(why),
        Wrote::Stored(lease) => readable(lease).map_or_else(WriteResult::Failed, WriteResult::Stored),
        Wrote::Conflict(lease) => match lease.map(readable).transpose() {
            Ok(lease) => WriteResult::Conflict(lease),
            Err(why) => WriteResult::Failed(why),
        },
    }
}
