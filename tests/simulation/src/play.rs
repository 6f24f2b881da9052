//! Faults begin and end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use crate::control_plane::{path_of, text};
use crate::fault::{Fault, Planned};
use crate::network::{Actor, Cut, Host, Weather};
use crate::world::World;

impl World {
    /// Plays one fault from its beginning to its end.
    pub(crate) async fn play(self: Arc<Self>, planned: Planned) {
        let Planned { length, fault, .. } = planned;
        let network = self.around.network.clone();
        match fault {
            Fault::Isolate(nodes, how) => {
                self.isolate(&nodes, how);
                sleep(length).await;
                self.mend(&nodes);
            }
            Fault::ApiCut(nodes, how) => {
                for node in &nodes {
                    network.cut_both(Host::Node(*node), Host::Api, how);
                }
                sleep(length).await;
                for node in &nodes {
                    network.mend(Host::Node(*node), Host::Api);
                }
            }
            Fault::PeerCut(nodes) => {
                for node in &nodes {
                    for other in self.others(&[*node]) {
                        network.cut_both(Host::Node(*node), Host::Node(other), Cut::Silent);
                    }
                }
                sleep(length).await;
                self.mend(&nodes);
            }
            Fault::OneWay(node, outgoing) => {
                let mut places: Vec<Host> = self.others(&[node]).into_iter().map(Host::Node).collect();
                places.push(Host::Api);
                places.extend((0..self.scenario.controllers).map(Host::Controller));
                for place in places {
                    let (from, to) = if outgoing { (Host::Node(node), place) } else { (place, Host::Node(node)) };
                    network.cut(from, to, Cut::Silent);
                }
                sleep(length).await;
                self.mend(&[node]);
            }
            Fault::ZoneCut(zone) => {
                let inside = |number: &u16| self.scenario.nodes[usize::from(*number)].zone == zone;
                let nodes: Vec<u16> = self.others(&[]).into_iter().filter(inside).collect();
                self.cut_group(&nodes);
                sleep(length).await;
                self.mend(&nodes);
            }
            Fault::Flap(node, period) => {
                let mut left = length;
                while !left.is_zero() {
                    self.isolate(&[node], Cut::Silent);
                    sleep(period / 2).await;
                    self.mend(&[node]);
                    sleep(period / 2).await;
                    left = left.saturating_sub(period);
                }
            }
            Fault::Writes(None, how) => {
                network.fail_writes(Some(how));
                sleep(length).await;
                network.fail_writes(None);
            }
            Fault::Writes(Some(node), how) => {
                network.fail_writes_of(Host::Node(node), Some(how));
                sleep(length).await;
                network.fail_writes_of(Host::Node(node), None);
            }
            Fault::Outage(how) => {
                network.api_down(Some(how));
                sleep(length).await;
                network.api_down(None);
            }
            Fault::OutageThenCut(how, nodes, stay) => {
                network.api_down(Some(how));
                sleep(length).await;
                for node in &nodes {
                    self.isolate(&[*node], how);
                }
                self.around.trace.say("OUTAGE ENDS");
                network.api_down(None);
                sleep(stay).await;
                self.mend(&nodes);
            }
            Fault::Kubelet(node) => self.machine(node).restart_kubelet(length),
            Fault::Agent(node) => self.machine(node).restart_agent(length),
            Fault::PauseAgent(node) => self.machine(node).pause_agent(length),
            Fault::StopAgent(node) => {
                let machine = self.machine(node);
                machine.stop_agent(Duration::from_secs(12));
                let boot = machine.boot();
                sleep(Duration::from_secs(15) + length).await;
                machine.kill_agent();
                if let Some(boot) = boot {
                    machine.start_agent(&boot);
                }
            }
            Fault::Hang(node) => self.machine(node).hang(length),
            Fault::Suspend(node) => self.machine(node).suspend(length),
            Fault::Power(node) => {
                self.machine(node).power_off();
                sleep(length).await;
                self.machine(node).power_on();
            }
            Fault::Reboot(node) => {
                if let Some(boot) = self.machine(node).boot() {
                    self.machine(node).reset(&boot, "it crashed");
                }
            }
            Fault::DeleteNode(node) => {
                let machine = self.machine(node);
                machine.power_off();
                sleep(Duration::from_secs(5)).await;
                let client = crate::way::Raw(self.store.client());
                let _ = client.delete(&format!("/api/v1/nodes/{}", machine.spec.name), "", None).await;
                sleep(length).await;
                machine.power_on();
            }
            Fault::WatchDrop(Some(node)) => network.reset(Actor::Agent(node)),
            Fault::WatchDrop(None) => {
                for number in 0..self.scenario.controllers {
                    network.reset(Actor::Controller(number));
                }
            }
            Fault::Weather(weather) => {
                network.set_weather(weather);
                sleep(length).await;
                network.set_weather(Weather::default());
            }
            Fault::ControllerCrash(number) => {
                self.kill_controller(number);
                sleep(length).await;
                if !self.controller_runs(number) {
                    self.start_controller(number);
                }
            }
            Fault::ControllerPause(number) => {
                network.freeze(Actor::Controller(number), true);
                sleep(length).await;
                network.freeze(Actor::Controller(number), false);
            }
            Fault::ControllerCut(number, from_api) => {
                let place = Host::Controller(number);
                if from_api {
                    network.cut_both(place, Host::Api, Cut::Silent);
                } else {
                    for node in self.others(&[]) {
                        network.cut_both(place, Host::Node(node), Cut::Silent);
                    }
                }
                sleep(length).await;
                network.mend_host(place);
            }
            Fault::Remediate(node) => self.remediate(node, length).await,
            Fault::Rogue(node) => self.release_without_proof(node).await,
        }
    }

    fn machine(&self, number: u16) -> &crate::machine::Machine {
        &self.machines[usize::from(number)]
    }

    fn others(&self, nodes: &[u16]) -> Vec<u16> {
        self.scenario.nodes.iter().map(|node| node.number).filter(|number| !nodes.contains(number)).collect()
    }

    /// Each of them alone.
    fn isolate(&self, nodes: &[u16], how: Cut) {
        for node in nodes {
            self.cut_from(*node, &self.others(&[*node]), how);
        }
    }

    /// All of them together.
    fn cut_group(&self, nodes: &[u16]) {
        let others = self.others(nodes);
        for node in nodes {
            self.cut_from(*node, &others, Cut::Silent);
        }
    }

    fn cut_from(&self, node: u16, others: &[u16], how: Cut) {
        let network = &self.around.network;
        network.cut_both(Host::Node(node), Host::Api, how);
        for number in 0..self.scenario.controllers {
            network.cut_both(Host::Node(node), Host::Controller(number), how);
        }
        for other in others {
            network.cut_both(Host::Node(node), Host::Node(*other), how);
        }
    }

    fn mend(&self, nodes: &[u16]) {
        for node in nodes {
            self.around.network.mend_host(Host::Node(*node));
        }
    }

    /// With a controller's way to the API, so that the judge looks at it as at any controller.
    async fn release_without_proof(self: Arc<Self>, node: u16) {
        let client = crate::way::Raw(self.controllers_way(0).client());
        let name = &self.machine(node).spec.name;
        for pod in self.store.objects("", "pods").iter().filter(|pod| text(pod, "/spec/nodeName") == name) {
            let _ = client.delete(&path_of(pod), text(pod, "/metadata/uid"), Some(0)).await;
        }
    }

    async fn remediate(&self, node: u16, length: Duration) {
        let name = &self.machine(node).spec.name;
        let client = crate::way::Raw(self.store.client());
        let collection = format!(
            "/apis/self-node-remediation.medik8s.io/v1alpha1/namespaces/{}/selfnoderemediations",
            palisade_api::keys::palisade::NAMESPACE
        );
        let object = json!({ "apiVersion": "self-node-remediation.medik8s.io/v1alpha1", "kind": "SelfNodeRemediation",
            "metadata": { "name": format!("by-hand-{name}"),
                "annotations": { "remediation.medik8s.io/node-name": name } },
            "spec": { "remediationStrategy": self.scenario.strategy } });
        let _ = client.create(&collection, &object).await;
        sleep(length).await;
        let _ = client.delete(&format!("{collection}/by-hand-{name}"), "", None).await;
    }
}
