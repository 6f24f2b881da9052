//! Requests to the API server, counted where they leave the client.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Method, Request, Response};
use prometheus::{HistogramVec, IntCounterVec, exponential_buckets};
use tower::{Layer, Service};

use super::catalogue::Maker;

/// Code of a request that had no answer.
const NO_ANSWER: &str = "none";

/// Counts what passes through it: a layer of a client. Shared by all clones.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    families: Mutex<Option<(IntCounterVec, HistogramVec)>>,
    /// Since when nothing is answered any more.
    failing: Mutex<Option<Instant>>,
}

impl Requests {
    /// Begins to count into metrics.
    pub(super) fn register(&self, make: &Maker<'_>) -> Result<(), prometheus::Error> {
        let total = make.counter(
            "palisade_api_requests_total",
            "Requests to the API server, by verb and HTTP status; code \"none\": there was no answer",
            &["verb", "code"],
        )?;
        let seconds = make.histogram(
            "palisade_api_request_duration_seconds",
            "From a request to the API server to the head of its answer",
            &["verb"],
            // A millisecond to 16 s.
            exponential_buckets(0.001, 2.0, 15)?,
        )?;
        *self.0.families.lock().unwrap_or_else(PoisonError::into_inner) = Some((total, seconds));
        Ok(())
    }

    /// For so long the API server has answered nothing that it was asked; zero if its latest answer was one.
    pub(crate) fn failing_for(&self) -> Duration {
        let failing = self.0.failing.lock().unwrap_or_else(PoisonError::into_inner);
        failing.map(|since| since.elapsed()).unwrap_or_default()
    }

    fn ended(&self, verb: &str, code: Option<u16>, took: Duration) {
        let mut failing = self.0.failing.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever is refused was answered; a server that says that it cannot was not.
        *failing = match code {
            Some(code) if code < 500 => None,
            _ => failing.or_else(|| Some(Instant::now())),
        };
        drop(failing);
        if let Some((total, seconds)) = &*self.0.families.lock().unwrap_or_else(PoisonError::into_inner) {
            let code = code.map_or_else(|| NO_ANSWER.to_owned(), |code| code.to_string());
            total.with_label_values(&[verb, code.as_str()]).inc();
            seconds.with_label_values(&[verb]).observe(took.as_secs_f64());
        }
    }
}

/// The verb as the API server's audit log has it; `get` includes lists.
fn verb<B>(request: &Request<B>) -> &'static str {
    let watches =
        || request.uri().query().unwrap_or_default().split('&').any(|part| part == "watch=true" || part == "watch=1");
    match *request.method() {
        Method::GET if watches() => "watch",
        Method::GET => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

impl<S> Layer<S> for Requests {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, requests: self.clone() }
    }
}

/// A client's service, counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    requests: Requests,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (verb, requests, began) = (verb(&request), self.requests.clone(), Instant::now());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            requests.ended(verb, code, began.elapsed());
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use prometheus::{Registry, TextEncoder};
    use tower::ServiceExt;

    use super::*;

    async fn ask(requests: &Requests, method: Method, uri: &str, code: Option<u16>) {
        let server = tower::service_fn(move |_: Request<()>| {
            std::future::ready(match code {
                Some(code) => Ok(Response::builder().status(code).body(()).unwrap()),
                None => Err("connection refused"),
            })
        });
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        let _ = requests.layer(server).oneshot(request).await;
    }

    #[tokio::test]
    async fn requests_are_counted_by_verb_and_answer_and_a_server_that_answers_nothing_is_noticed() {
        let registry = Registry::new();
        let requests = Requests::default();
        requests.register(&Maker::new(&registry)).unwrap();
        ask(&requests, Method::GET, "/api/v1/nodes?limit=500", Some(200)).await;
        ask(&requests, Method::GET, "/api/v1/nodes?resourceVersion=1&watch=true", Some(200)).await;
        // A refusal is an answer.
        ask(&requests, Method::PATCH, "/api/v1/nodes/a", Some(409)).await;
        assert_eq!(requests.failing_for(), Duration::ZERO);
        ask(&requests, Method::PATCH, "/api/v1/nodes/a", None).await;
        assert!(requests.failing_for() > Duration::ZERO);
        ask(&requests, Method::PATCH, "/api/v1/nodes/a", Some(503)).await;
        assert!(requests.failing_for() > Duration::ZERO);
        ask(&requests, Method::GET, "/api/v1/nodes", Some(200)).await;
        assert_eq!(requests.failing_for(), Duration::ZERO);
        let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        for (labels, count) in [
            (r#"code="200",verb="get""#, 2),
            (r#"code="200",verb="watch""#, 1),
            (r#"code="409",verb="patch""#, 1),
            (r#"code="503",verb="patch""#, 1),
            (r#"code="none",verb="patch""#, 1),
        ] {
            let line = format!("palisade_api_requests_total{{{labels}}} {count}");
            assert!(text.lines().any(|known| known == line), "no line {line:?} in\n{text}");
        }
    }
}
