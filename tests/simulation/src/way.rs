//! One program's way to the API server: the sandbox's store behind the simulated network.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::unfold;
use http::{Method, Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Bytes, Frame};
use kube::client::Body;
use palisade_sandbox::api::Service;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::network::{Actor, FailedWrite, Network};
use crate::trace::Trace;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Error>>;

/// How long a write without quorum takes to fail.
const WRITE_TIMEOUT: Duration = Duration::from_secs(7);

/// Is told after every write of a controller that the server took.
pub type Watcher = Arc<dyn Fn(Actor, &Method, &str) + Send + Sync>;

/// A tower service for [`kube::Client`].
#[derive(Clone)]
pub struct Way {
    /// Who asks.
    pub actor: Actor,
    /// The network.
    pub network: Network,
    /// The API server.
    pub api: Service,
    /// Where requests are noted.
    pub trace: Trace,
    /// Sees what controllers do.
    pub watcher: Option<Watcher>,
}

impl Way {
    /// A client that takes this way.
    pub fn client(self) -> kube::Client {
        kube::Client::new(self, "default")
    }

    async fn carry(mut self, request: Request<Body>, answer: oneshot::Sender<Result<Answer, String>>) {
        let mut answer = Some(answer);
        let result = self.attempt(request, &mut answer).await;
        if let (Some(result), Some(answer)) = (result, answer) {
            // The client may have given up.
            let _ = answer.send(result);
        }
    }

    /// `None` if nobody waits any more.
    async fn attempt(
        &mut self,
        request: Request<Body>,
        client: &mut Option<oneshot::Sender<Result<Answer, String>>>,
    ) -> Option<Result<Answer, String>> {
        let (network, actor) = (self.network.clone(), self.actor);
        // What is on the wire arrives, whatever becomes of its sender.
        tokio::time::sleep(network.latency()).await;
        if let Err(refused) = wait_or_gone(client, network.open(actor, Actor::Api)).await? {
            return Some(Err(refused));
        }
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let query = request.uri().query().unwrap_or_default().to_owned();
        let is_watch = query.contains("watch=");
        let failing = network.failing(actor).filter(|_| method != Method::GET);
        if let Some(how @ (FailedWrite::Refused | FailedWrite::TimeOut)) = failing {
            self.trace.request(&format!("{actor} {method} {path} fails"));
            let slow = if how == FailedWrite::TimeOut { WRITE_TIMEOUT } else { Duration::ZERO };
            wait_or_gone(client, tokio::time::sleep(slow)).await?;
            return Some(Ok(failed(how)));
        }
        let response = match tower::Service::call(&mut self.api, request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let code = response.status().as_u16();
        self.trace.request(&format!("{actor} {method} {path}{} {code}", if is_watch { "?watch" } else { "" }));
        if method != Method::GET
            && code < 300
            && let Some(watcher) = &self.watcher
        {
            watcher(actor, &method, &path);
        }
        if failing == Some(FailedWrite::Lost) {
            wait_or_gone(client, tokio::time::sleep(WRITE_TIMEOUT)).await?;
            return Some(Ok(failed(FailedWrite::Lost)));
        }
        if let Err(refused) = wait_or_gone(client, network.hop(Actor::Api, actor)).await? {
            return Some(Err(refused));
        }
        let (head, body) = response.into_parts();
        let body = body.map_err(|never| match never {});
        let body = if is_watch { held(body.boxed_unsync(), network, actor) } else { body.boxed_unsync() };
        Some(Ok(Response::from_parts(head, body)))
    }
}

/// `None` if the client is gone before the end.
async fn wait_or_gone<T>(
    client: &mut Option<oneshot::Sender<Result<Answer, String>>>,
    what: impl Future<Output = T>,
) -> Option<T> {
    let client = client.as_mut()?;
    tokio::select! {
        biased;
        result = what => Some(result),
        () = client.closed() => None,
    }
}

fn failed(how: FailedWrite) -> Answer {
    let (code, reason, message) = match how {
        FailedWrite::Refused => (500, "InternalError", "etcdserver: mvcc: database space exceeded"),
        FailedWrite::TimeOut | FailedWrite::Lost => (504, "Timeout", "context deadline exceeded"),
    };
    let status: Value = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code });
    let body = http_body_util::Full::new(Bytes::from(status.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}

/// A watch: events wait while the way is cut, and the connection may break.
fn held(body: UnsyncBoxBody<Bytes, Error>, network: Network, actor: Actor) -> UnsyncBoxBody<Bytes, Error> {
    let reset = {
        let network = network.clone();
        Box::pin(async move { network.was_reset(actor).await })
    };
    let stream = unfold(Some((body, network, reset)), move |state| async move {
        let (mut body, network, mut reset) = state?;
        let next = async {
            let frame = body.frame().await?;
            tokio::time::sleep(Duration::from_millis(1)).await;
            // A refusing server has closed its connections.
            if let Err(refused) = network.open(Actor::Api, actor).await {
                return Some(Err(refused.into()));
            }
            Some(frame)
        };
        let frame: Option<Result<Frame<Bytes>, Error>> = tokio::select! {
            biased;
            () = &mut reset => Some(Err("connection reset".into())),
            frame = next => frame,
        };
        let frame = frame?;
        let state = frame.is_ok().then_some((body, network, reset));
        Some((frame, state))
    });
    http_body_util::StreamBody::new(Box::pin(stream)).boxed_unsync()
}

impl tower::Service<Request<Body>> for Way {
    type Response = Answer;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let way = self.clone();
        Box::pin(async move {
            let (sender, receiver) = oneshot::channel();
            way.network.thawed(way.actor).await;
            tokio::spawn(way.carry(request, sender));
            match receiver.await {
                Ok(result) => result.map_err(Into::into),
                Err(_) => Err("the connection was lost".into()),
            }
        })
    }
}

/// Requests in plain JSON, for the parts of the simulation that are not under test.
#[derive(Clone)]
pub struct Raw(pub kube::Client);

/// Why a request failed: the HTTP code, or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code(pub u16);

impl Raw {
    async fn send(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Value, Code> {
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = Request::builder().method(method).uri(path).header("content-type", kind).body(bytes);
        let request = request.map_err(|_| Code(0))?;
        self.0.request::<Value>(request).await.map_err(|error| match error {
            kube::Error::Api(status) => Code(status.code),
            _ => Code(0),
        })
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Value, Code> {
        self.send("GET", path, "application/json", &Value::Null).await
    }

    /// The items of a list.
    pub async fn list(&self, path: &str) -> Result<Vec<Value>, Code> {
        let mut list = self.get(path).await?;
        match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            _ => Err(Code(0)),
        }
    }

    /// POST.
    pub async fn create(&self, path: &str, body: &Value) -> Result<Value, Code> {
        self.send("POST", path, "application/json", body).await
    }

    /// PUT.
    pub async fn replace(&self, path: &str, body: &Value) -> Result<Value, Code> {
        self.send("PUT", path, "application/json", body).await
    }

    /// Merge patch.
    pub async fn merge(&self, path: &str, body: &Value) -> Result<Value, Code> {
        self.send("PATCH", path, "application/merge-patch+json", body).await
    }

    /// DELETE of a pod of this UID, with this grace period.
    pub async fn delete(&self, path: &str, uid: &str, grace: Option<u32>) -> Result<Value, Code> {
        let mut body = json!({ "kind": "DeleteOptions", "apiVersion": "v1" });
        if !uid.is_empty() {
            body["preconditions"] = json!({ "uid": uid });
        }
        if let Some(grace) = grace {
            body["gracePeriodSeconds"] = json!(grace);
        }
        self.send("DELETE", path, "application/json", &body).await
    }
}
