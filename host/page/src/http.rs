//! Routes, headers, and the one thing that can be done here: answering a question.

mod assets;
mod live;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use kube::Client;
use kube::api::Api;
use palisade_explain::questions::{self, Said, Shown};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::auth::{AsUser, Person, Reviews};
use crate::board::Board;
use crate::error::Refusal;
use crate::show::{self, Kind};

/// No answer to a question is longer.
const LARGEST: usize = 16 * 1024;
/// Nobody reads a longer reason at night, and an annotation is not a novel.
const LONGEST_WHY: usize = 1_000;
/// No question is answered in a longer time.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(15);
/// Everything comes from here, nothing is inline, nobody frames it, and no text becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// The page.
#[derive(Clone)]
pub struct Page {
    inner: Arc<Inner>,
}

struct Inner {
    board: Arc<Board>,
    reviews: Reviews,
    as_user: Option<AsUser>,
    /// The fleet as it was last told, for all who look: with thousands of nodes it takes some milliseconds.
    fleet: Mutex<Option<(u64, Bytes)>>,
}

impl Page {
    /// Over a board that somebody fills. `client` reviews tokens; `as_user` writes what their owners say.
    pub fn new(board: Arc<Board>, client: Client, as_user: Option<AsUser>) -> Self {
        Self { inner: Arc::new(Inner { board, reviews: Reviews::new(client), as_user, fleet: Mutex::default() }) }
    }

    /// Its routes.
    pub fn router(self) -> Router {
        let api = Router::new()
            .route("/me", get(me))
            .route("/fleet", get(fleet))
            .route("/nodes/{name}", get(node))
            .route("/policies", get(policies))
            .route("/remediations", get(remediations))
            .route("/approvals", get(approvals).post(answer))
            .route("/modules", get(modules))
            .route("/events", get(live::events))
            .fallback(async || {
                Refusal::new(StatusCode::NOT_FOUND, "There is no such question.", "See the page itself.")
            })
            .layer(DefaultBodyLimit::max(LARGEST))
            .layer(map_response(async |mut response: Response| {
                response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
                response
            }))
            .with_state(self);
        assets::routes().nest("/api", api).layer(map_response(guarded))
    }
}

/// Serves it until the future is dropped.
pub async fn serve(address: SocketAddr, page: Page) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        tracing::info!(%address, "the page speaks plain HTTP beyond this machine: let an ingress or a mesh encrypt it");
    }
    tracing::info!(%address, "page");
    axum::serve(listener, page.router()).await?;
    Ok(())
}

async fn guarded(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

impl Page {
    async fn reader(&self, headers: &HeaderMap) -> Result<Arc<Person>, Refusal> {
        self.inner.reviews.reader(headers).await
    }

    /// Allowed to, as of a moment ago; what is lacking, in words, goes to `lacking`.
    async fn may(
        &self,
        person: &Person,
        kind: Kind,
        of: &show::Approval,
        lacking: &mut Vec<String>,
    ) -> Result<bool, Refusal> {
        let mut may = true;
        for wish in kind.wishes(&of.kind, &of.namespace, &of.name).into_iter().flatten() {
            if !self.inner.reviews.may(person, &wish).await? {
                may = false;
                let words = wish.words();
                if !lacking.contains(&words) {
                    lacking.push(words);
                }
            }
        }
        Ok(may)
    }
}

async fn me(State(page): State<Page>, headers: HeaderMap) -> Result<Response, Refusal> {
    let person = page.reader(&headers).await?;
    Ok(Json(json!({ "user": person.name, "version": env!("CARGO_PKG_VERSION") })).into_response())
}

async fn fleet(State(page): State<Page>, headers: HeaderMap) -> Result<Response, Refusal> {
    page.reader(&headers).await?;
    let revision = *page.inner.board.revision().borrow();
    let kept = page.inner.fleet.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let body = match kept {
        Some((known, body)) if known == revision => body,
        _ => {
            let told = show::fleet(&page.inner.board.look());
            let body = Bytes::from(serde_json::to_vec(&told).map_err(|error| internal(&error))?);
            *page.inner.fleet.lock().unwrap_or_else(PoisonError::into_inner) = Some((revision, body.clone()));
            body
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn node(State(page): State<Page>, Path(name): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    page.reader(&headers).await?;
    let answer = show::node(&page.inner.board.look(), &name, Timestamp::now());
    match answer {
        Ok(answer) => Ok(Json(answer).into_response()),
        Err(_) => Err(Refusal::new(
            StatusCode::NOT_FOUND,
            format!("There is no node {name:?}, and no policy or remediation knows one."),
            "Check the name: kubectl get nodes",
        )),
    }
}

async fn policies(State(page): State<Page>, headers: HeaderMap) -> Result<Response, Refusal> {
    page.reader(&headers).await?;
    Ok(told(&show::policies(&page.inner.board.look())))
}

async fn remediations(State(page): State<Page>, headers: HeaderMap) -> Result<Response, Refusal> {
    page.reader(&headers).await?;
    Ok(told(&show::remediations(&page.inner.board.look())))
}

async fn modules(State(page): State<Page>, headers: HeaderMap) -> Result<Response, Refusal> {
    page.reader(&headers).await?;
    Ok(told(&show::modules(&page.inner.board.look())))
}

async fn approvals(State(page): State<Page>, headers: HeaderMap) -> Result<Response, Refusal> {
    let person = page.reader(&headers).await?;
    let mut all = show::approvals(&page.inner.board.look());
    for one in &mut all {
        let mut lacking = Vec::new();
        one.may_say_yes = page.may(&person, show::kind_of(&one.question), one, &mut lacking).await?;
        one.may_say_no = page.may(&person, Kind::Deny, one, &mut lacking).await?;
        one.lacking = lacking;
    }
    Ok(told(&all))
}

fn told<T: Serialize>(what: &T) -> Response {
    Json(what).into_response()
}

/// What somebody says, with what they had before their eyes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Answer {
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    question: String,
    code: String,
    boot: String,
    /// Yes or no.
    yes: bool,
    why: String,
}

async fn answer(
    State(page): State<Page>,
    headers: HeaderMap,
    body: Result<Json<Answer>, axum::extract::rejection::JsonRejection>,
) -> Result<Response, Refusal> {
    let person = page.reader(&headers).await?;
    let bad = |message: String| Refusal::new(StatusCode::BAD_REQUEST, message, "Nothing was answered.");
    let Json(answer) = body.map_err(|error| bad(error.body_text()))?;
    let why = answer.why.trim();
    if why.is_empty() || why.chars().count() > LONGEST_WHY || why.chars().any(char::is_control) {
        return Err(bad(format!(
            "why: a reason of one line, 1 to {LONGEST_WHY} characters, is recorded with your name"
        )));
    }
    let kind = match (answer.question.as_str(), answer.yes) {
        ("ApproveAction" | "ConfirmIsolated", false) => Kind::Deny,
        ("ApproveAction", true) => Kind::Approve,
        ("ConfirmIsolated", true) => Kind::Confirm,
        _ => return Err(bad(format!("question: {:?} is neither ApproveAction nor ConfirmIsolated", answer.question))),
    };
    let (resource, wishes) = questions::kind(&answer.kind)
        .zip(kind.wishes(&answer.kind, &answer.namespace, &answer.name))
        .ok_or_else(|| bad(format!("kind: {:?} is no kind of remediation", answer.kind)))?;
    for wish in wishes {
        if !page.inner.reviews.may_now(&person, &wish).await? {
            return Err(Refusal::new(
                StatusCode::FORBIDDEN,
                format!("{} may not answer this: it takes the right to {}.", person.name, wish.words()),
                "Nothing was answered. Ask somebody who may, or for a Role that grants it.",
            ));
        }
    }
    let as_user = page.inner.as_user.as_ref().ok_or_else(|| {
        Refusal::new(StatusCode::NOT_IMPLEMENTED, "This page cannot write as you.", "Use palisade approve.")
    })?;
    // The owner of the token writes: the API server authorises, admits and logs that person, not this controller.
    let client = as_user(&person.token.0).map_err(|error| internal(&error))?;
    let api = Api::namespaced_with(client, &answer.namespace, &resource);
    let said = Said { key: kind.key(), question: Some(&answer.question), who: &person.name, why };
    let shown = Shown { uid: &answer.uid, code: &answer.code, boot: &answer.boot };
    let written = tokio::time::timeout(LIMIT, questions::answer(&api, &answer.name, &said, Some(&shown))).await;
    let pending = match written {
        Ok(Ok(pending)) => pending,
        Ok(Err(error)) => return Err(refused(&error)),
        Err(_) => return Err(Refusal::unreachable("the answer", &format_args!("not written within {LIMIT:?}"))),
    };
    tracing::info!(
        user = person.name,
        kind = answer.kind,
        namespace = answer.namespace,
        name = answer.name,
        question = pending.question,
        yes = answer.yes,
        "answered on the page"
    );
    Ok(Json(json!({ "user": person.name, "question": pending.question, "boot": pending.boot })).into_response())
}

fn refused(error: &anyhow::Error) -> Refusal {
    let status = match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(answer)) => StatusCode::from_u16(answer.code).unwrap_or(StatusCode::BAD_GATEWAY),
        Some(_) => StatusCode::SERVICE_UNAVAILABLE,
        // The question is not there any more, or another one.
        None => StatusCode::CONFLICT,
    };
    // Signing in again does not help against what the API server says of a write.
    let status = if status == StatusCode::UNAUTHORIZED { StatusCode::FORBIDDEN } else { status };
    Refusal::new(status, format!("{error:#}"), "Nothing was answered.")
}

fn internal(error: &dyn std::fmt::Display) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "See the log of the controller.")
}
