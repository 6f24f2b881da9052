//! What the watches show, as gauges that are made when somebody asks. Every replica shows them, whichever leads.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;
use kube::runtime::watcher::Event;
use palisade_api::reasons::{condition, phase};
use palisade_api::{NodeHealthCheck, Remediator};
use palisade_core::fencing::record::LeaseView;
use palisade_page::Shelf;
use prometheus::IntGaugeVec;

use super::catalogue::Maker;
use crate::Role;
use crate::remediation::kind::{Remediation, Status};

/// Reason of a policy that cannot be decoded, which therefore says nothing itself.
const UNREADABLE: &str = "Unreadable";

/// Objects and their gauges.
#[derive(Debug)]
pub(super) struct Seen {
    gauges: Gauges,
    agents: Option<Store<Lease>>,
    objects: Mutex<Objects>,
}

#[derive(Debug)]
struct Gauges {
    policy: IntGaugeVec,
    remediations: IntGaugeVec,
    oldest: IntGaugeVec,
    contradicted: IntGaugeVec,
    questions: IntGaugeVec,
    asked: IntGaugeVec,
    remediator: IntGaugeVec,
    agents: IntGaugeVec,
}

#[derive(Debug, Default)]
struct Objects {
    /// Phase and reason by name.
    policies: Shelf<(String, String)>,
    /// By kind.
    remediations: BTreeMap<&'static str, Shelf<Remediated>>,
    /// Readiness and reason by name.
    remediators: Shelf<(bool, String)>,
    nodes_listed: bool,
}

#[derive(Debug)]
struct Remediated {
    phase: String,
    created: Option<Timestamp>,
    over: bool,
    contradicted: bool,
    questions: Vec<(String, Option<Timestamp>)>,
}

impl Seen {
    pub fn register(make: &Maker<'_>, agents: Option<Store<Lease>>) -> Result<Self, prometheus::Error> {
        let gauges = Gauges {
            policy: make.gauge(
                "palisade_policy_phase",
                "1 for the phase that the policy is in: Enabled, Remediating, Paused or Disabled, and why it is disabled",
                &["policy", "phase", "reason"],
            )?,
            remediations: make.gauge(
                "palisade_remediations",
                "Remediations of the kinds that are carried out here, by what they reached last; Stopped: it cannot be done",
                &["kind", "phase"],
            )?,
            oldest: make.gauge(
                "palisade_remediation_oldest_created_timestamp_seconds",
                "When the oldest remediation that is neither done nor given up was created; absent without any",
                &["kind"],
            )?,
            contradicted: make.gauge(
                "palisade_remediations_contradicted",
                "Remediations whose node gave a sign of life after its end was proven",
                &["kind"],
            )?,
            questions: make.gauge("palisade_questions_pending", "Questions that wait for people", &["question"])?,
            asked: make.gauge(
                "palisade_question_oldest_asked_timestamp_seconds",
                "When the oldest question that waits for people was asked; absent without any",
                &["question"],
            )?,
            remediator: make.gauge(
                "palisade_remediator_ready",
                "1 while the component of a Remediator object can be used, 0 while not, and why",
                &["remediator", "reason"],
            )?,
            agents: make.gauge(
                "palisade_agents",
                "Node agents by what their leases say: watchdog (fences itself, a watchdog enforces it), software (fences itself by software only), incapable, disarmed (ended in order, nothing guards the node), silent (not renewed within the bound of its node's life), malformed",
                &["state"],
            )?,
        };
        Ok(Self { gauges, agents, objects: Mutex::default() })
    }

    pub fn policy(&self, event: &Event<DeserializeGuard<NodeHealthCheck>>) {
        let make = |policy: &DeserializeGuard<NodeHealthCheck>| match &policy.0 {
            Ok(policy) => standing(policy),
            Err(_) => (phase::DISABLED.to_owned(), UNREADABLE.to_owned()),
        };
        self.objects().policies.take(event, make, |_, _| false);
    }

    pub fn remediation<K: Remediation>(&self, event: &Event<K>) {
        let make = |object: &K| {
            remediated(&object.status(), object.meta().creation_timestamp.as_ref().map(|at| at.0), object.deleting())
        };
        self.objects().remediations.entry(K::KIND).or_default().take(event, make, |_, _| false);
    }

    pub fn remediator(&self, event: &Event<Remediator>) {
        let make = |remediator: &Remediator| {
            let conditions = remediator.status.iter().flat_map(|status| &status.conditions);
            let ready = conditions.into_iter().find(|known| known.type_ == condition::READY);
            // One that nobody has looked at yet is not broken.
            ready.map_or((true, String::new()), |ready| (ready.status == "True", ready.reason.clone()))
        };
        self.objects().remediators.take(event, make, |_, _| false);
    }

    pub fn nodes_listed(&self) {
        self.objects().nodes_listed = true;
    }

    /// Which of the lists that decisions need were never read.
    pub fn missing(&self, role: Role) -> Vec<&'static str> {
        let objects = self.objects();
        let lists = [
            ("nodes", objects.nodes_listed || role == Role::Watch),
            ("remediators", objects.remediators.known() || role == Role::Watch),
            ("policies", objects.policies.known() || role == Role::Remediator),
        ];
        lists.into_iter().filter(|(_, listed)| !listed).map(|(name, _)| name).collect()
    }

    /// Sets all gauges.
    pub fn refresh(&self, now: Timestamp) {
        let gauges = &self.gauges;
        let objects = self.objects();
        for gauge in [&gauges.policy, &gauges.remediator] {
            gauge.reset();
        }
        for (name, (phase, reason)) in objects.policies.named() {
            gauges.policy.with_label_values(&[name, phase, reason]).set(1);
        }
        for (name, (ready, reason)) in objects.remediators.named() {
            gauges.remediator.with_label_values(&[name, reason.as_str()]).set(i64::from(*ready));
        }
        for gauge in [&gauges.remediations, &gauges.oldest, &gauges.contradicted, &gauges.questions, &gauges.asked] {
            gauge.reset();
        }
        for (kind, shelf) in &objects.remediations {
            gauges.contradicted.with_label_values(&[kind]).set(0);
            for one in shelf.all() {
                gauges.remediations.with_label_values(&[kind, one.phase.as_str()]).inc();
                gauges.contradicted.with_label_values(&[kind]).add(i64::from(one.contradicted));
                if let Some(created) = one.created.filter(|_| !one.over) {
                    earliest(&gauges.oldest, kind, created);
                }
                for (question, asked) in &one.questions {
                    gauges.questions.with_label_values(&[question]).inc();
                    if let Some(asked) = asked {
                        earliest(&gauges.asked, question, *asked);
                    }
                }
            }
        }
        drop(objects);
        gauges.agents.reset();
        for state in ["watchdog", "software", "incapable", "disarmed", "silent", "malformed"] {
            gauges.agents.with_label_values(&[state]).set(0);
        }
        for lease in self.agents.iter().flat_map(Store::state) {
            if let Some(state) = agent(&lease, now) {
                gauges.agents.with_label_values(&[state]).inc();
            }
        }
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        // Plain values; one that is half written only miscounts.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn earliest(gauge: &IntGaugeVec, label: &str, at: Timestamp) {
    let gauge = gauge.with_label_values(&[label]);
    let known = gauge.get();
    // Nothing of a cluster is from 1970: 0 is what a new series begins with.
    gauge.set(if known == 0 { at.as_second() } else { known.min(at.as_second()) });
}

/// Phase of a policy, and why it is disabled.
fn standing(policy: &NodeHealthCheck) -> (String, String) {
    let status = policy.status.clone().unwrap_or_default();
    let disabled = status.conditions.iter().find(|known| known.type_ == condition::DISABLED && known.status == "True");
    let phase = status.phase.unwrap_or_default();
    let reason = disabled.filter(|_| phase == phase::DISABLED).map(|known| known.reason.clone()).unwrap_or_default();
    (phase, reason)
}

fn remediated(status: &Status, created: Option<Timestamp>, deleting: bool) -> Remediated {
    let is = |kind: &str, value: &str| {
        status.conditions.iter().any(|known: &Condition| known.type_ == kind && known.status == value)
    };
    let progress = status.palisade.clone().unwrap_or_default();
    let stopped = is(condition::SUCCEEDED, "False");
    let reached = progress.timeline.last().map(|entry| entry.stage.to_string());
    let phase = if deleting {
        "Restoring".to_owned()
    } else if stopped && reached.as_deref() != Some("Failed") {
        "Stopped".to_owned()
    } else {
        reached.unwrap_or_else(|| "New".to_owned())
    };
    let pending = progress.questions.iter().filter(|_| !deleting).filter(|question| question.state == "Pending");
    Remediated {
        phase,
        created,
        over: deleting || stopped || is(condition::SUCCEEDED, "True"),
        contradicted: !progress.contradicted.is_empty(),
        questions: pending.map(|one| (one.question.clone(), one.asked.as_ref().map(|at| at.0))).collect(),
    }
}

/// What the lease of an agent says; `None` if it is not one, or no agent ever wrote it.
fn agent(lease: &Lease, now: Timestamp) -> Option<&'static str> {
    let Ok(view) = LeaseView::from_annotations(lease.annotations()) else { return Some("malformed") };
    let record = view.record?;
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|at| at.0);
    let bound = jiff::SignedDuration::try_from(record.terms.life_bound()).unwrap_or(jiff::SignedDuration::MAX);
    let silent = renewed.is_some_and(|renewed| now.duration_since(renewed) > bound);
    Some(match (record.disarmed, record.terms.claims.self_fences, &record.terms.watchdog) {
        (true, ..) => "disarmed",
        _ if silent => "silent",
        (_, false, _) => "incapable",
        (_, true, None) => "software",
        (_, true, Some(_)) => "watchdog",
    })
}
