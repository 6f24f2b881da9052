//! An API server whose answers arrive late: what it says is true when it is said, and old when it is heard.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request};
use kube::client::Body;
use palisade_sandbox::api::Service;
use tokio::sync::watch;

/// Which answers are held back.
type Held = dyn Fn(&Method, &str) -> bool + Send + Sync;

/// Holds answers back until it is told to let them go.
#[derive(Clone)]
pub struct Late {
    held: Arc<Held>,
    open: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Late {
    /// Holds back the answers to these requests, by method and path with query. Open at first.
    pub fn new(held: impl Fn(&Method, &str) -> bool + Send + Sync + 'static) -> Self {
        Self { held: Arc::new(held), open: watch::Sender::new(true), waiting: watch::Sender::new(0) }
    }

    /// From now on answers wait.
    pub fn hold(&self) {
        self.open.send_replace(false);
    }

    /// All that wait, and those that come, go on.
    pub fn release(&self) {
        self.open.send_replace(true);
    }

    /// Returns when so many answers have been given that nobody has heard yet.
    pub async fn waits(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached = waiting.wait_for(|waiting| *waiting >= count);
        tokio::time::timeout(super::DEADLINE, reached).await.expect("an answer is held back in time").unwrap();
    }

    pub fn between(&self, inner: Service) -> Between {
        Between { late: self.clone(), inner }
    }
}

/// Stands between a client and the API.
#[derive(Clone)]
pub struct Between {
    late: Late,
    inner: Service,
}

impl tower::Service<Request<Body>> for Between {
    type Response = <Service as tower::Service<Request<Body>>>::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_held = (self.late.held)(request.method(), &request.uri().to_string());
        let (late, answer) = (self.late.clone(), tower::Service::call(&mut self.inner, request));
        Box::pin(async move {
            let answer = answer.await;
            if is_held {
                late.waiting.send_modify(|waiting| *waiting += 1);
                let _ = late.open.subscribe().wait_for(|open| *open).await;
                late.waiting.send_modify(|waiting| *waiting -= 1);
            }
            answer
        })
    }
}
