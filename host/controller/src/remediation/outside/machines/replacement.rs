//! What came in the place of a deleted machine.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DynamicObject, ListParams};
use kube::{Client, ResourceExt};
use palisade_api::outside::{MachineRecord, MachineReference};
use palisade_runtime::{MachineFate, ReplacementView};
use serde_json::Value;

use super::{About, api, controller, if_served, object_is_gone, resource, text};
use crate::error::Error;
use crate::fence::read::{is_ready, limited};

/// Looks at the machines of the same owner.
pub(super) async fn look(about: &About<'_>, record: &MachineRecord) -> Result<ReplacementView, Error> {
    let client = &about.context.client;
    let gone = object_is_gone(about, record).await?;
    let Some(owner) = &record.owner else {
        return Ok(ReplacementView {
            fate: if gone { MachineFate::Gone } else { MachineFate::Deleting },
            waiting_for: if gone { String::new() } else { waits_for_machine(record) },
            ..ReplacementView::default()
        });
    };
    let now = wanted(client, &record.namespace, owner).await?;
    let machines = api(client, &record.api_version, &record.namespace);
    let machines = limited("list of machines", machines.list(&ListParams::default())).await?;
    let nodes = limited("list of nodes", Api::<Node>::all(client.clone()).list(&ListParams::default())).await?;
    let ready: BTreeMap<String, bool> = nodes.items.iter().map(|node| (node.name_any(), is_ready(node))).collect();
    // Both times are the API server's.
    let asked = about.object.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
    let asked = asked.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let members: Vec<Member> = machines
        .items
        .iter()
        .filter(|machine| owned_by(machine, owner) && machine.uid().as_deref() != Some(record.uid.as_str()))
        .filter(|machine| machine.metadata.deletion_timestamp.is_none())
        .map(|machine| Member {
            newer: match (machine.metadata.creation_timestamp.as_ref(), asked) {
                (Some(made), Some(asked)) => made.0 >= asked,
                _ => false,
            },
            ready: ready.get(&text(machine, "/status/nodeRef/name")).copied().unwrap_or_default(),
        })
        .collect();
    Ok(judge(record, gone, now, &members))
}

/// Another machine of the same owner.
#[derive(Debug, Clone, Copy)]
struct Member {
    newer: bool,
    ready: bool,
}

/// Judged by replacements, not by counting all: scaling during the run neither blocks nor fakes success.
fn judge(record: &MachineRecord, gone: bool, now: Option<i64>, members: &[Member]) -> ReplacementView {
    let wanted = match (record.replicas, now) {
        (Some(then), Some(now)) => Some(then.min(now)),
        (then, now) => then.or(now),
    };
    let wanted = wanted.map(|wanted| u32::try_from(wanted.max(0)).unwrap_or(u32::MAX));
    let count =
        |of: fn(&Member) -> bool| u32::try_from(members.iter().filter(|member| of(member)).count()).unwrap_or(0);
    let (older, ready) = (count(|member| !member.newer), count(|member| member.newer && member.ready));
    // An owner that does not say how many it wants is judged by a replacement of this one.
    let needed = wanted.map_or(1, |wanted| wanted.saturating_sub(older));
    let waiting_for = if !gone {
        waits_for_machine(record)
    } else if ready < needed {
        format!("{} of {needed} replacements to have a Ready node", needed - ready)
    } else {
        String::new()
    };
    let fate = if gone { MachineFate::Gone } else { MachineFate::Deleting };
    ReplacementView { fate, wanted, ready, needed, waiting_for }
}

fn waits_for_machine(record: &MachineRecord) -> String {
    format!("machine {}/{} to be gone; its deletion cannot be taken back", record.namespace, record.name)
}

/// How many machines an owner wants, if it says so.
pub(super) async fn wanted(client: &Client, namespace: &str, owner: &MachineReference) -> Result<Option<i64>, Error> {
    let kind = resource(&owner.api_version, &owner.kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &kind);
    let found = if_served(limited("owner of the machine", api.get_opt(&owner.name)).await)?;
    let found = found.filter(|found| owner.uid.is_none() || found.uid() == owner.uid);
    Ok(found.and_then(|found| found.data.pointer("/spec/replicas").and_then(Value::as_i64)))
}

fn owned_by(machine: &DynamicObject, owner: &MachineReference) -> bool {
    controller(machine).is_some_and(|found| found.uid == owner.uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(older: usize, waiting: usize, ready: usize) -> Vec<Member> {
        let of = |count, newer, ready| std::iter::repeat_n(Member { newer, ready }, count);
        of(older, false, true).chain(of(waiting, true, false)).chain(of(ready, true, true)).collect()
    }

    fn judged(then: Option<i64>, now: Option<i64>, others: &[Member]) -> ReplacementView {
        judge(&MachineRecord { replicas: then, ..MachineRecord::default() }, true, now, others)
    }

    #[test]
    fn b_1_6_a_replacement_that_is_not_ready_is_none() {
        assert_ne!(judged(Some(3), Some(3), &members(2, 1, 0)).waiting_for, "");
        assert_eq!(judged(Some(3), Some(3), &members(2, 0, 1)).waiting_for, "");
    }

    #[test]
    fn b_1_5_scaling_during_the_run_neither_blocks_nor_fakes() {
        // Up: the one replacement is enough. Down by one: none is wanted in its place. To zero: the same.
        assert_eq!(judged(Some(3), Some(9), &members(2, 5, 1)).waiting_for, "");
        assert_eq!(judged(Some(3), Some(2), &members(2, 0, 0)).needed, 0);
        assert_eq!(judged(Some(3), Some(0), &members(0, 0, 0)).needed, 0);
    }

    #[test]
    fn b_1_7_an_owner_that_does_not_say_is_no_instant_success() {
        assert_ne!(judged(None, None, &members(2, 0, 0)).waiting_for, "");
        assert_eq!(judged(None, None, &members(2, 0, 1)).waiting_for, "");
    }

    #[test]
    fn two_deletions_need_two_replacements() {
        assert_eq!(judged(Some(3), Some(3), &members(1, 1, 1)).needed, 2);
        assert_ne!(judged(Some(3), Some(3), &members(1, 1, 1)).waiting_for, "");
    }

    #[test]
    fn a_machine_that_is_still_there_is_waited_for() {
        let record = MachineRecord { replicas: Some(1), ..MachineRecord::default() };
        let view = judge(&record, false, Some(1), &members(0, 0, 1));
        assert_eq!(view.fate, MachineFate::Deleting);
        assert!(view.waiting_for.contains("cannot be taken back"));
    }
}
