//! What a control-plane node can find out about itself (rule R4): whether its kubelet and a chosen endpoint answer.
//!
//! Sound means: an *answer* counts, and nothing else does. A name that resolves or a packet that could be sent proves
//! nothing, and every question has a time limit. What follows from the answers is decided in the core.

mod target;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;

pub use target::{KUBELET_PORT, Target};

/// Finds out whether this node is well.
pub trait Diagnostics: Send + Sync + 'static {
    /// All diagnostics at once, within the limit; which of them did not pass.
    fn check(&self, limit: Duration) -> BoxFuture<'_, Result<(), String>>;
}

/// The kubelet of this node, and the endpoint of the configuration.
#[derive(Debug)]
pub struct SelfDiagnosis {
    kubelet: Option<Target>,
    endpoint: Mutex<Option<Arc<Endpoint>>>,
}

/// `endpointHealthCheckUrl`. One that never answered this process is not missed: it may be wrong, or out of reach for
/// reasons of its own, and no node shall end for that.
#[derive(Debug)]
struct Endpoint {
    text: String,
    target: Target,
    seen: AtomicBool,
}

impl SelfDiagnosis {
    /// Of the node with this address.
    pub fn new(node: Option<IpAddr>) -> Self {
        Self::of(node.map(Target::kubelet))
    }

    /// With another kubelet than that of the own address.
    pub fn of(kubelet: Option<Target>) -> Self {
        Self { kubelet, endpoint: Mutex::new(None) }
    }

    /// From now on this is the endpoint. Told apart from before, and tried once, so that it is known whether it ever
    /// answered.
    ///
    /// # Errors
    /// If the text names no endpoint; then there is none.
    pub async fn watch_endpoint(&self, text: &str, limit: Duration) -> Result<(), String> {
        let endpoint = match Target::endpoint(text) {
            Ok(target) => target.map(|target| {
                Arc::new(Endpoint { text: text.trim().to_owned(), target, seen: AtomicBool::new(false) })
            }),
            Err(why) => {
                *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = None;
                return Err(why);
            }
        };
        {
            let mut current = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
            let text = |endpoint: &Option<Arc<Endpoint>>| endpoint.as_ref().map(|endpoint| endpoint.text.clone());
            if text(&current) == text(&endpoint) {
                return Ok(());
            }
            (*current).clone_from(&endpoint);
        }
        if let Some(endpoint) = endpoint
            && !endpoint.answers(limit).await
        {
            tracing::warn!(
                endpoint = endpoint.text,
                "endpointHealthCheckUrl does not answer: until it once did, it has no part in the self diagnostics"
            );
        }
        Ok(())
    }
}

impl Endpoint {
    async fn answers(&self, limit: Duration) -> bool {
        let answers = self.target.answers(limit).await;
        if answers {
            self.seen.store(true, Ordering::SeqCst);
        }
        answers
    }

    async fn is_lost(&self, limit: Duration) -> bool {
        !self.answers(limit).await && self.seen.load(Ordering::SeqCst)
    }
}

impl Diagnostics for SelfDiagnosis {
    fn check(&self, limit: Duration) -> BoxFuture<'_, Result<(), String>> {
        async move {
            let Some(kubelet) = &self.kubelet else { return Err("the address of this node is not known".to_owned()) };
            let endpoint = self.endpoint.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let lost = async {
                match &endpoint {
                    Some(endpoint) => endpoint.is_lost(limit).await.then(|| endpoint.text.clone()),
                    None => None,
                }
            };
            match futures::join!(kubelet.answers(limit), lost) {
                (false, _) => Err(format!("the kubelet does not answer within {limit:?}")),
                (true, Some(endpoint)) => Err(format!("{endpoint} answered before and does not within {limit:?}")),
                (true, None) => Ok(()),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
