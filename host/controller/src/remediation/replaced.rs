//! A node that was deleted and made again: another node that has the name of the old one.

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use palisade_api::reasons::event;

use super::kind::Remediation;
use super::pass::{IDLE, Pass};
use super::status::{self, Standing};
use crate::error::Error;
use crate::events::Kind;

impl<K: Remediation> Pass<K> {
    /// Remembers which node object the remediation is about, and forgets its marks if that one is gone: they went with it,
    /// and what the new one carries is somebody else's.
    pub(super) fn note_replacement(&mut self, node: Option<&Node>) {
        let now = node.and_then(ResourceExt::uid);
        let held = self.object.held();
        let known = self.progress().node_uid.clone();
        self.replaced = held && now.is_some() && known.is_some() && known != now;
        if self.replaced {
            self.progress().owned.taints.clear();
            self.progress().owned.cordoned = None;
        } else if now.is_some() && (known.is_none() || !held) {
            self.progress().node_uid = now;
        }
    }

    /// What was found out about a node says nothing about another one that has its name by now.
    pub(super) async fn another_node(&mut self, node: &Node) -> Result<Action, Error> {
        self.context.fences.stop(&self.target.uid);
        self.context.providers.power.halt(&self.target.uid);
        let message = format!(
            "node {} was deleted and made again (UID {} now): nothing more is done for the old one, and nothing to the new \
             one; delete this remediation",
            self.target.node,
            node.uid().unwrap_or_default()
        );
        let news = !status::succeeded(&self.status, "False");
        status::stand(&mut self.status, Standing::Stopped(K::NODE_NOT_FOUND), &message);
        if news {
            self.event(Kind::Warning, event::FAILED, &message).await;
        }
        self.save().await?;
        self.stop_jobs().await?;
        self.release_node().await?;
        Ok(Action::requeue(IDLE))
    }
}
