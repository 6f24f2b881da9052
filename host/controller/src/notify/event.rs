//! What a webhook reads.

use jiff::Timestamp;
use kube::ResourceExt;
use palisade_api::NodeHealthCheck;
use serde_json::{Value, json};

use crate::health::News;

/// One event on its way.
#[derive(Debug, Clone)]
pub(super) struct CloudEvent {
    pub id: uuid::Uuid,
    pub time: Timestamp,
    /// Events before this one that were lost because too many waited.
    pub lost: u64,
    policy: String,
    uid: String,
    reason: String,
    warning: bool,
    message: String,
    node: Option<String>,
}

impl CloudEvent {
    pub fn new(policy: &NodeHealthCheck, news: &News<'_>) -> Self {
        Self {
            id: uuid::Uuid::new_v4(),
            time: Timestamp::now(),
            lost: 0,
            policy: policy.name_any(),
            uid: policy.uid().unwrap_or_default(),
            reason: news.reason.to_owned(),
            warning: news.warning,
            message: news.message.to_owned(),
            node: news.node.map(str::to_owned),
        }
    }

    /// The same id every time it is sent, so that a receiver can tell a repetition.
    pub fn body(&self) -> Value {
        let mut event = json!({
            "specversion": "1.0",
            "id": self.id.to_string(),
            "source": format!("/apis/remediation.medik8s.io/v1alpha1/nodehealthchecks/{}", self.policy),
            "type": format!("dev.palisade.{}", self.reason),
            "time": self.time.to_string(),
            "datacontenttype": "application/json",
            "data": {
                "policy": self.policy,
                "policyUid": self.uid,
                "reason": self.reason,
                "severity": if self.warning { "Warning" } else { "Normal" },
                "message": self.message,
                "node": self.node,
            },
        });
        if let Some(node) = &self.node {
            event["subject"] = format!("node/{node}").into();
        }
        if self.lost > 0 {
            event["palisadelost"] = i32::try_from(self.lost).unwrap_or(i32::MAX).into();
        }
        event
    }
}
