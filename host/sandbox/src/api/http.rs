//! Requests in, responses out.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::{Method, Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Bytes};
use serde_json::{Value, json};

use super::ApiStore;
use super::audit::AuditEntry;
use super::delete::Deleted;
use super::error::ApiError;
use super::meta;
use super::patch::Patch;
use super::path::{self, Route};
use super::request::{Call, query};
use super::respond::{Accept, ResponseBody, json_response, status_response, stream_response};
use super::switches::Writes;
use super::watch::{WatchRequest, watch};
use super::write::{Target, WriteOptions, Written};
use super::{discovery, openapi, views};

/// The size at which the real server refuses a body.
const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// The store as a tower service, for clients in this process.
#[derive(Clone, Debug)]
pub struct Service {
    store: ApiStore,
}

impl Service {
    /// Serves this store.
    pub fn new(store: ApiStore) -> Self {
        Self { store }
    }
}

impl<B> tower::Service<Request<B>> for Service
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let store = self.store.clone();
        Box::pin(async move { Ok(handle(&store, request).await) })
    }
}

/// Answers one request.
pub async fn handle<B>(store: &ApiStore, request: Request<B>) -> Response<ResponseBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (head, body) = request.into_parts();
    let header = |name: &str| head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let (user_agent, impersonated) = (header("user-agent"), header("impersonate-user"));
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(collected) => collected.to_bytes(),
        Err(error) => {
            let message = format!("the body of the request cannot be read: {error}");
            return status_response(&ApiError::new(413, "RequestEntityTooLarge", message));
        }
    };
    // A request that comes during an outage is answered after it, if its client is still there.
    store.inner.switches.wait_until_up().await;
    let call = Call {
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        query: query(head.uri.query().unwrap_or("")),
        content_type: header(header::CONTENT_TYPE.as_str()),
        accept: header(header::ACCEPT.as_str()),
        body,
    };
    let mut entry = AuditEntry {
        verb: String::new(),
        group: String::new(),
        resource: String::new(),
        subresource: String::new(),
        namespace: String::new(),
        name: String::new(),
        user_agent,
        impersonated,
        code: 0,
    };
    let response = call.answer(store, &mut entry).unwrap_or_else(|error| status_response(&error));
    if !entry.resource.is_empty() {
        entry.code = response.status().as_u16();
        store.inner.audit.record(entry);
    }
    response
}

type Answer = Result<Response<ResponseBody>, ApiError>;

impl Call {
    fn answer(&self, store: &ApiStore, entry: &mut AuditEntry) -> Answer {
        let route = path::route(&store.state(), &self.path)?;
        let accept = || Accept::negotiate(&self.accept);
        match route {
            Route::Version => Ok(json_response(200, &version())),
            Route::Health => Ok(Response::new(ResponseBody::new("ok".to_owned()))),
            Route::OpenApi(path) => Ok(json_response(200, &openapi::answer(&store.state(), &path)?)),
            Route::Discovery(path) => {
                let aggregated = path.len() == 1 && self.accept.contains("as=APIGroupDiscoveryList");
                let value = discovery::answer(&store.state(), &path, aggregated)?;
                let mut response = json_response(200, &value);
                if aggregated {
                    let kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
                    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
                }
                Ok(response)
            }
            Route::Objects(target) => {
                describe(entry, &target);
                let namespace = (!target.namespace.is_empty()).then(|| target.namespace.clone());
                self.objects(store, target, namespace, accept()?, entry)
            }
            Route::AllNamespaces(target) => {
                describe(entry, &target);
                self.objects(store, target, None, accept()?, entry)
            }
        }
    }

    fn objects(
        &self,
        store: &ApiStore,
        target: Target,
        namespace: Option<String>,
        accept: Accept,
        entry: &mut AuditEntry,
    ) -> Answer {
        let everywhere = target.resource.namespaced && namespace.is_none();
        let single = !target.name.is_empty();
        self.verb(single).clone_into(&mut entry.verb);
        if self.method != Method::GET {
            if everywhere {
                return Err(ApiError::method_not_allowed());
            }
            writes_work(store.inner.switches.writes())?;
        }
        match (&self.method, single) {
            (&Method::GET, _) if self.flag("watch") => self.watch(store, target, namespace, accept),
            (&Method::GET, true) => {
                let state = store.state();
                let object =
                    state.get(&target.key()).ok_or_else(|| ApiError::not_found(&target.resource, &target.name))?;
                let shown = views::show(&target, object);
                Ok(json_response(200, &accept.object(&target, shown, self.include(), store.now())))
            }
            (&Method::GET, false) => {
                let selector = self.selector(&target)?;
                let state = store.state();
                let items: Vec<Value> = state
                    .list(&target.resource.key(), namespace.as_deref())
                    .filter(|object| selector.matches(object))
                    .map(|object| views::show(&target, object))
                    .collect();
                let version = state.version();
                drop(state);
                Ok(json_response(200, &accept.list(&target, items, version, self.include(), store.now())))
            }
            (&Method::POST, false) => {
                let written = self.write(store, |writer, body, options| writer.create(&target, body, options))?;
                meta::text(&written.object, "name").clone_into(&mut entry.name);
                Ok(self.written(&target, &written, accept, store))
            }
            (&Method::POST, true) if target.subresource == "binding" => {
                let body = self.json()?;
                let mut state = store.state();
                let status = store.writer(&mut state).bind(&target, &body)?;
                Ok(json_response(201, &status))
            }
            (&Method::PUT, true) => {
                let written = self.write(store, |writer, body, options| writer.update(&target, body, options))?;
                Ok(self.written(&target, &written, accept, store))
            }
            (&Method::PATCH, true) => {
                let patch = Patch::new(&self.content_type, self.json()?)?;
                let mut state = store.state();
                let written = store.writer(&mut state).patch(&target, patch, &self.options())?;
                drop(state);
                Ok(self.written(&target, &written, accept, store))
            }
            (&Method::DELETE, true) if target.subresource.is_empty() => self.delete(store, &target, accept),
            (&Method::DELETE, false) => self.delete_collection(store, &target, namespace.as_deref(), accept),
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    fn write(
        &self,
        store: &ApiStore,
        action: impl FnOnce(&mut super::write::Writer<'_>, Value, &WriteOptions) -> Result<Written, ApiError>,
    ) -> Result<Written, ApiError> {
        let body = self.json()?;
        let mut state = store.state();
        action(&mut store.writer(&mut state), body, &self.options())
    }

    fn written(&self, target: &Target, written: &Written, accept: Accept, store: &ApiStore) -> Response<ResponseBody> {
        let shown = views::show(target, &written.object);
        let code = if written.created { 201 } else { 200 };
        let mut response = json_response(code, &accept.object(target, shown, self.include(), store.now()));
        for warning in &written.warnings {
            let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
            if let Ok(value) = header::HeaderValue::from_str(&text) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        response
    }

    fn delete(&self, store: &ApiStore, target: &Target, accept: Accept) -> Answer {
        let options = self.delete_options()?;
        let mut state = store.state();
        let deleted = store.writer(&mut state).delete(target, &options)?;
        drop(state);
        match deleted {
            Deleted::Pending(object) => {
                let shown = views::show(target, &object);
                Ok(json_response(200, &accept.object(target, shown, self.include(), store.now())))
            }
            Deleted::Gone(object) if !target.resource.custom && target.resource.plural == "pods" => {
                Ok(json_response(200, &views::show(target, &object)))
            }
            Deleted::Gone(object) => {
                let details = json!({
                    "name": target.name, "group": target.resource.group, "kind": target.resource.plural,
                    "uid": meta::text(&object, "uid"),
                });
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
                });
                Ok(json_response(200, &status))
            }
        }
    }

    fn delete_collection(&self, store: &ApiStore, target: &Target, namespace: Option<&str>, accept: Accept) -> Answer {
        let options = self.delete_options()?;
        let selector = self.selector(target)?;
        let mut state = store.state();
        let found: Vec<(String, Value)> = state
            .list(&target.resource.key(), namespace)
            .filter(|object| selector.matches(object))
            .map(|object| (meta::text(object, "name").to_owned(), views::show(target, object)))
            .collect();
        let mut items = Vec::new();
        for (name, object) in found {
            let one = Target { name, ..target.clone() };
            // One of them may have gone with another.
            if store.writer(&mut state).delete(&one, &options).is_ok() {
                items.push(object);
            }
        }
        let version = state.version();
        drop(state);
        Ok(json_response(200, &accept.list(target, items, version, self.include(), store.now())))
    }

    fn watch(&self, store: &ApiStore, target: Target, namespace: Option<String>, accept: Accept) -> Answer {
        let mut selector = self.selector(&target)?;
        if !target.name.is_empty() {
            selector.only_name(&target.name);
        }
        let number = |name: &str| self.query.get(name).and_then(|v| v.parse::<u64>().ok());
        let request = WatchRequest {
            namespace,
            selector,
            resource_version: number("resourceVersion"),
            bookmarks: self.flag("allowWatchBookmarks"),
            send_initial: self.flag("sendInitialEvents"),
            timeout: Duration::from_secs(number("timeoutSeconds").unwrap_or(1800)),
            target: target.clone(),
        };
        let events = watch(store.clone(), request);
        let (include, store) = (self.include().to_owned(), store.clone());
        Ok(stream_response(events, move |event| accept.event(&target, event, &include, store.now())))
    }
}

fn describe(entry: &mut AuditEntry, target: &Target) {
    entry.group.clone_from(&target.resource.group);
    entry.resource.clone_from(&target.resource.plural);
    entry.subresource.clone_from(&target.subresource);
    entry.namespace.clone_from(&target.namespace);
    entry.name.clone_from(&target.name);
}

fn writes_work(writes: Writes) -> Result<(), ApiError> {
    match writes {
        Writes::Work => Ok(()),
        Writes::Fail => Err(ApiError::new(
            500,
            "InternalError",
            "Internal error occurred: etcdserver: mvcc: database space exceeded",
        )),
        Writes::TimeOut => Err(ApiError::new(
            504,
            "Timeout",
            "Timeout: request did not complete within requested timeout - context deadline exceeded",
        )),
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.0-palisade-sandbox", "gitCommit": "", "gitTreeState": "",
        "buildDate": "2026-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}
