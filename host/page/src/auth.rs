//! Who looks, and what they may: the API server's own reviews of their token, kept for a few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, UserInfo};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};
use palisade_api::keys::node_health_check;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::error::Refusal;

/// Makes a client that is nobody but the owner of the token.
pub type AsUser = Arc<dyn Fn(&str) -> anyhow::Result<Client> + Send + Sync>;

/// A right that was taken away is gone here after this time; answers to questions are never decided by what is kept.
const KEPT: Duration = Duration::from_secs(15);
/// No review takes longer.
const LIMIT: Duration = Duration::from_secs(10);
/// So many reviews at a time: whoever sends rubbish tokens must not take the API server's time.
const AT_A_TIME: usize = 8;
/// So many are kept.
const ENTRIES: usize = 2_048;
/// No token is longer; those of service accounts have about a thousand bytes.
const LONGEST: usize = 16 * 1024;

type Key = [u8; 32];
/// What was answered, and when.
type Kept<K, V> = Mutex<HashMap<K, (Instant, V)>>;

/// Asks, and remembers for a moment.
pub struct Reviews {
    client: Client,
    gate: Semaphore,
    persons: Kept<Key, Result<Arc<Person>, Refusal>>,
    rights: Kept<(Key, Wish), bool>,
}

/// Whoever owns a token.
#[derive(Debug)]
pub struct Person {
    /// Name.
    pub name: String,
    /// The token itself, to act with; never shown, never logged.
    pub token: Token,
    key: Key,
    user: UserInfo,
}

/// A token that no log shows.
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

/// What somebody may want.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wish {
    /// Verb.
    pub verb: &'static str,
    /// Group.
    pub group: String,
    /// Resource.
    pub resource: String,
    /// Namespace; empty: all.
    pub namespace: String,
    /// Name; empty: all.
    pub name: String,
}

impl Wish {
    /// The one rule for looking: who may list the policies of the cluster may see the page.
    pub fn look() -> Self {
        Self {
            verb: "list",
            group: node_health_check::GROUP.to_owned(),
            resource: "nodehealthchecks".to_owned(),
            namespace: String::new(),
            name: String::new(),
        }
    }

    /// In the words of `kubectl auth can-i`.
    pub fn words(&self) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" {:?}", self.name) };
        let place = if self.namespace.is_empty() {
            "in all namespaces".to_owned()
        } else {
            format!("in namespace {:?}", self.namespace)
        };
        format!("{} {}.{}{name} {place}", self.verb, self.resource, self.group)
    }
}

impl Reviews {
    /// By this client, which needs to create token reviews and subject access reviews.
    pub fn new(client: Client) -> Self {
        Self { client, gate: Semaphore::new(AT_A_TIME), persons: Mutex::default(), rights: Mutex::default() }
    }

    /// Who asks, if they may look at the page.
    pub async fn reader(&self, headers: &HeaderMap) -> Result<Arc<Person>, Refusal> {
        let person = self.person(headers).await?;
        let wish = Wish::look();
        if self.may(&person, &wish).await? {
            return Ok(person);
        }
        Err(Refusal::new(
            StatusCode::FORBIDDEN,
            format!("{} may not look at this page: it takes the right to {}.", person.name, wish.words()),
            "Bind the ClusterRole palisade-viewer (or view) to this user with a ClusterRoleBinding.",
        ))
    }

    async fn person(&self, headers: &HeaderMap) -> Result<Arc<Person>, Refusal> {
        let token = bearer(headers)?;
        let key: Key = Sha256::digest(token.as_bytes()).into();
        if let Some((at, known)) = lock(&self.persons).get(&key)
            && at.elapsed() < KEPT
        {
            return known.clone();
        }
        let found = self.review(token, key).await;
        // A server that did not answer said nothing about the token.
        if !matches!(&found, Err(refusal) if refusal.status == StatusCode::SERVICE_UNAVAILABLE) {
            keep(&self.persons, key, found.clone());
        }
        found
    }

    async fn review(&self, token: &str, key: Key) -> Result<Arc<Person>, Refusal> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), audiences: None },
            ..TokenReview::default()
        };
        let answer = self.ask("the token could not be reviewed", review).await?;
        let status = answer.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true)).unwrap_or_default();
        match user.username.clone() {
            Some(name) if !name.is_empty() => Ok(Arc::new(Person { name, token: Token(token.to_owned()), key, user })),
            _ => Err(Refusal::new(
                StatusCode::UNAUTHORIZED,
                "The API server does not know this token: it is mistyped, of another cluster, or has expired.",
                "Make a new one, for example: kubectl create token NAME -n NAMESPACE",
            )),
        }
    }

    /// Whether they may, as of a moment ago: for what is shown.
    pub async fn may(&self, person: &Person, wish: &Wish) -> Result<bool, Refusal> {
        let key = (person.key, wish.clone());
        if let Some((at, may)) = lock(&self.rights).get(&key)
            && at.elapsed() < KEPT
        {
            return Ok(*may);
        }
        self.may_now(person, wish).await
    }

    /// Whether they may, at this moment: for what is done.
    pub async fn may_now(&self, person: &Person, wish: &Wish) -> Result<bool, Refusal> {
        let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(person.name.clone()),
                groups: person.user.groups.clone(),
                uid: person.user.uid.clone(),
                extra: person.user.extra.clone(),
                resource_attributes: Some(ResourceAttributes {
                    verb: said(wish.verb),
                    group: said(&wish.group),
                    resource: said(&wish.resource),
                    namespace: said(&wish.namespace),
                    name: said(&wish.name),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.ask("the rights could not be reviewed", review).await?;
        let may = answer.status.is_some_and(|status| status.allowed);
        keep(&self.rights, (person.key, wish.clone()), may);
        Ok(may)
    }

    async fn ask<K>(&self, failed: &str, review: K) -> Result<K, Refusal>
    where
        K: kube::Resource<DynamicType = ()> + serde::Serialize + serde::de::DeserializeOwned + Clone + std::fmt::Debug,
    {
        let ask = async {
            // Never closed.
            let _turn = self.gate.acquire().await;
            Api::<K>::all(self.client.clone()).create(&PostParams::default(), &review).await
        };
        match timeout(LIMIT, ask).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                tracing::warn!(%error, "{failed}");
                Err(Refusal::unreachable(failed, &error))
            }
            Err(_) => Err(Refusal::unreachable(failed, &format_args!("no answer within {LIMIT:?}"))),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token =
        given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match token.map(|(_, token)| token.trim()) {
        Some(token) if !token.is_empty() && token.len() <= LONGEST => Ok(token),
        _ => Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "Sign in first.",
            "Send a Kubernetes bearer token; kubectl create token NAME -n NAMESPACE makes one.",
        )),
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep<K: std::hash::Hash + Eq, V>(what: &Kept<K, V>, key: K, value: V) {
    let mut kept = lock(what);
    kept.retain(|_, (at, _)| at.elapsed() < KEPT);
    if kept.len() < ENTRIES {
        kept.insert(key, (Instant::now(), value));
    }
}
