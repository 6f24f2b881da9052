//! Whether everything is as it should be, and what must never be.

use std::collections::BTreeMap;

use palisade_api::keys;
use palisade_core::fencing::record::LeaseView;
use serde_json::Value;

use crate::control_plane::{OUT_OF_SERVICE, Sort, text};
use crate::kubelet::ready;
use crate::machine::Machine;
use crate::network::Actor;
use crate::world::World;

impl World {
    /// What is not as it should be.
    pub(crate) fn unsettled(&self) -> Option<String> {
        let nodes = self.store.objects("", "nodes");
        let leases = self.store.objects("coordination.k8s.io", "leases");
        if let Some(remediation) = self.remediations().first() {
            return Some(format!(
                "remediation {} exists: {}",
                text(remediation, "/metadata/name"),
                remediation.pointer("/status").cloned().unwrap_or_default()
            ));
        }
        for machine in &self.machines {
            let name = &machine.spec.name;
            let Some(boot) = machine.boot() else { return Some(format!("{name} is off")) };
            let Some(node) = nodes.iter().find(|node| text(node, "/metadata/name") == name) else {
                return Some(format!("{name} is not registered"));
            };
            if ready(node).is_none_or(|ready| ready["status"] != "True") {
                return Some(format!("{name} is not Ready"));
            }
            if text(node, "/status/nodeInfo/bootID") != boot.id {
                return Some(format!("{name} reports an old boot"));
            }
            if let Some(taints) =
                node.pointer("/spec/taints").filter(|taints| taints.as_array().is_some_and(|t| !t.is_empty()))
            {
                return Some(format!("{name} has taints {taints}"));
            }
            if !machine.spec.has_agent {
                continue;
            }
            let lease = leases.iter().find(|lease| {
                text(lease, "/metadata/name") == name && text(lease, "/metadata/namespace") == keys::palisade::NAMESPACE
            });
            let annotations: BTreeMap<String, String> = lease
                .and_then(|lease| serde_json::from_value(lease.pointer("/metadata/annotations")?.clone()).ok())
                .unwrap_or_default();
            let Ok(view) = LeaseView::from_annotations(&annotations) else {
                return Some(format!("the lease of {name} cannot be read"));
            };
            if view.intent.is_some() {
                return Some(format!("the lease of {name} carries an intent"));
            }
            let Some(record) = view.record else { return Some(format!("the agent of {name} has not reported")) };
            if record.boot_id.as_str() != boot.id {
                return Some(format!("the agent of {name} reports an old boot"));
            }
            let agents = self.machines.iter().filter(|machine| machine.spec.has_agent).count();
            let full = agents.saturating_sub(1).min(15);
            if !record.terms.claims.self_fences
                || record.terms.claims.may_exempt != machine.spec.role.diagnoses()
                || record.terms.jury.len() < full
            {
                return Some(format!(
                    "{name} has a jury of {} of {full}, claims {:?}",
                    record.terms.jury.len(),
                    record.terms.claims
                ));
            }
        }
        let pods = self.store.objects("", "pods");
        let running: Vec<String> =
            self.machines.iter().filter_map(Machine::boot).flat_map(|boot| boot.running()).collect();
        for workload in self.scenario.workloads.iter().filter(|workload| workload.sort != Sort::Bare) {
            let runs = pods.iter().any(|pod| {
                text(pod, "/metadata/labels/app") == workload.name
                    && running.iter().any(|uid| uid == text(pod, "/metadata/uid"))
            });
            if !runs {
                return Some(format!("{} does not run", workload.name));
            }
        }
        None
    }

    /// After every write of a controller: nothing that lives may have been released.
    pub(crate) fn judge_controller(&self, actor: Actor, method: &http::Method, path: &str) {
        if method == http::Method::DELETE && path.contains("/pods/") {
            let pods = self.store.objects("", "pods");
            if !pods.iter().any(|pod| path.ends_with(text(pod, "/metadata/name"))) {
                self.around.oracle.release();
            }
            for (uid, boot) in self.around.oracle.alive() {
                if !pods.iter().any(|pod| text(pod, "/metadata/uid") == uid) && self.was(&uid) {
                    self.around.oracle.foul(format!(
                        "{actor} released a pod ({path}, {uid}) of {} although boot {} lives",
                        boot.node, boot.id
                    ));
                }
            }
        }
        if path.starts_with("/api/v1/nodes/") {
            for node in self.store.objects("", "nodes") {
                let taints =
                    node.pointer("/spec/taints").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
                let name = text(&node, "/metadata/name");
                if !path.ends_with(name) || !taints.iter().any(|taint| taint["key"] == OUT_OF_SERVICE) {
                    continue;
                }
                let machine = self.machines.iter().find(|machine| machine.spec.name == name);
                let alive = machine.and_then(Machine::boot).filter(|boot| boot.is_alive());
                if let Some(boot) = alive.filter(|boot| boot.id == text(&node, "/status/nodeInfo/bootID")) {
                    self.around
                        .oracle
                        .foul(format!("{actor} called {name} out of service although boot {} lives", boot.id));
                }
            }
        }
    }

    /// Whether a container of this pod runs anywhere.
    fn was(&self, uid: &str) -> bool {
        self.machines
            .iter()
            .filter_map(Machine::boot)
            .any(|boot| boot.is_alive() && boot.running().iter().any(|r| r == uid))
    }

    pub(crate) fn judge_reboots(&self) {
        let ended = self.around.oracle.boots_ended();
        if self.scenario.nobody_reboots {
            for (node, boot, why) in &ended {
                self.around.oracle.foul(format!("{node} rebooted (boot {boot}: {why}) although nobody may"));
            }
        }
        if let Some(exactly) = &self.scenario.exactly {
            for machine in &self.machines {
                let (name, expected) = (&machine.spec.name, exactly.contains(&machine.spec.number));
                let did = ended.iter().any(|(node, ..)| node == name);
                if did != expected {
                    let what = if did { "rebooted although it must not" } else { "was not fenced" };
                    self.around.oracle.foul(format!("{name} {what}"));
                }
            }
        }
    }
}
