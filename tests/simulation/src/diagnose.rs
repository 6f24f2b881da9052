//! Self diagnostics of a control-plane node (R4), on a simulated machine.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use palisade_agent::diagnose::Diagnostics;

use crate::boot::Boot;
use crate::machine::Machine;

/// What a control-plane node finds out about itself (R4): whether its kubelet answers within the limit.
pub struct OwnKubelet {
    /// Of this machine,
    pub machine: Machine,
    /// and this boot of it.
    pub boot: Arc<Boot>,
}

impl Diagnostics for OwnKubelet {
    fn check(&self, limit: Duration) -> BoxFuture<'_, Result<(), String>> {
        async move {
            self.machine.around.network.thawed(self.machine.agent_actor()).await;
            if self.machine.kubelet_answers(&self.boot) {
                tokio::time::sleep(Duration::from_millis(2)).await;
                self.machine.around.oracle.diagnosed();
                return Ok(());
            }
            tokio::time::sleep(limit).await;
            Err(format!("the kubelet does not answer within {limit:?}"))
        }
        .boxed()
    }
}
