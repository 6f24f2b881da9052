//! Finds what a plan knows of a node without walking every list for every node.

use std::collections::{BTreeMap, BTreeSet};

use palisade_api::node_health_check::UnhealthyNode;

use super::Outlook;
use crate::health::view::{NodeView, RemediationView};

/// Remediations and memories by node.
#[derive(Debug, Default)]
pub struct Index<'a> {
    remediations: BTreeMap<&'a str, Vec<&'a RemediationView>>,
    entries: BTreeMap<&'a str, &'a UnhealthyNode>,
    selected: BTreeMap<&'a str, &'a NodeView>,
    /// Control-plane nodes under remediation by whomever, and the remediation.
    control_plane: BTreeMap<&'a str, String>,
}

impl<'a> Index<'a> {
    pub(super) fn new(outlook: &Outlook<'a>) -> Self {
        let mut index = Self::default();
        for remediation in outlook.remediations {
            index.remediations.entry(&remediation.node).or_default().push(remediation);
        }
        for elsewhere in &outlook.surroundings.control_plane {
            index.control_plane.insert(&elsewhere.node, elsewhere.key.to_string());
        }
        for remediation in outlook.remediations.iter().filter(|remediation| remediation.control_plane) {
            index.control_plane.insert(&remediation.node, remediation.key.to_string());
        }
        index.selected = outlook.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
        for entry in outlook.policy.remembered {
            // What is remembered of a node that was deleted says nothing about another of its name.
            let same = index.selected.get(entry.name.as_str()).is_none_or(|node| is_same(entry, node));
            if same {
                index.entries.insert(&entry.name, entry);
            }
        }
        index
    }

    /// Remediations of a node, by whomever.
    pub fn remediations(&self, node: &str) -> impl Iterator<Item = &'a RemediationView> {
        self.remediations.get(node).into_iter().flatten().copied()
    }

    /// Remediations of a node that the policy made.
    pub fn own(&self, node: &str) -> impl Iterator<Item = &'a RemediationView> {
        self.remediations(node).filter(|remediation| remediation.owned)
    }

    /// What the status remembers of a node.
    pub fn entry(&self, node: &str) -> Option<&'a UnhealthyNode> {
        self.entries.get(node).copied()
    }

    /// A selected node.
    pub fn node(&self, name: &str) -> Option<&'a NodeView> {
        self.selected.get(name).copied()
    }

    /// A control-plane node other than this one that is under remediation, and its remediation.
    pub fn other_control_plane(&self, node: &str) -> Option<(&str, &str)> {
        self.control_plane.iter().find(|(other, _)| **other != node).map(|(other, what)| (*other, what.as_str()))
    }

    /// Nodes with remediations of the policy that are not selected, or were made anew since.
    pub(super) fn orphaned(&self) -> BTreeSet<&'a str> {
        let names = self.remediations.keys().copied();
        names.filter(|node| self.own(node).any(|remediation| self.is_orphan(remediation))).collect()
    }

    /// Whether the node of a remediation is not selected any more, or is another one of the same name.
    pub(super) fn is_orphan(&self, remediation: &RemediationView) -> bool {
        match self.node(&remediation.node) {
            Some(node) => remediation.node_uid.as_ref().is_some_and(|uid| *uid != node.uid && !node.uid.is_empty()),
            None => true,
        }
    }
}

fn is_same(entry: &UnhealthyNode, node: &NodeView) -> bool {
    entry.node_uid.as_ref().is_none_or(|uid| *uid == node.uid)
}
