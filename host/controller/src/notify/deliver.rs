//! Brings the events of one queue to their webhook.

use std::sync::Arc;

use anyhow::Context as _;
use http::{Method, StatusCode};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use palisade_api::node_health_check::Notification;

use super::Shared;
use super::event::CloudEvent;
use crate::outbound::{Identity, Peer};

/// One POST takes no longer.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(10);

/// What became of one POST.
enum Outcome {
    Delivered,
    /// It will never be taken.
    Refused(StatusCode),
}

/// Sends until the queue is empty.
pub(super) async fn run(shared: Arc<Shared>, webhook: Notification) {
    // A URL may hold a secret, so only its host is ever logged.
    let host = webhook.url.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
    let mut peer = None;
    while let Some(event) = shared.next(&webhook) {
        let mut pause = shared.pauses.first;
        loop {
            match post(&shared, &webhook, &mut peer, &event).await {
                Ok(Outcome::Delivered) => break,
                Ok(Outcome::Refused(code)) => {
                    tracing::warn!(host, %code, event = %event.id, "webhook refuses an event, which is not sent again");
                    break;
                }
                Err(error) => {
                    // Authorities are replaced as well.
                    peer = peer.filter(|_| webhook.authority.is_none());
                    let error = format!("{error:#}");
                    if is_old(&event, shared.pauses.give_up) {
                        tracing::warn!(host, error, event = %event.id, "webhook not reached for too long, event given up");
                        break;
                    }
                    tracing::debug!(host, error, "webhook not reached, tried again");
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(shared.pauses.longest);
        }
    }
}

fn is_old(event: &CloudEvent, limit: std::time::Duration) -> bool {
    let age = Timestamp::now().duration_since(event.time);
    std::time::Duration::try_from(age).unwrap_or_default() > limit
}

async fn post(
    shared: &Shared,
    webhook: &Notification,
    peer: &mut Option<Peer>,
    event: &CloudEvent,
) -> anyhow::Result<Outcome> {
    if peer.is_none() {
        let identity = match &webhook.authority {
            Some(authority) => {
                Some(Identity { pair: None, authority: secret(shared, &authority.secret, &authority.key).await?.0 })
            }
            None => None,
        };
        *peer = Some(Peer::new(&webhook.url, identity.as_ref()).await?);
    }
    let Some(peer) = peer else { anyhow::bail!("no connection") };
    let value = header(shared, webhook).await?;
    let mut headers = vec![("content-type", "application/cloudevents+json; charset=utf-8")];
    if let (Some(header), Some(value)) = (&webhook.header, &value) {
        headers.push((&header.name, value));
    }
    let body = serde_json::to_vec(&event.body())?;
    let (code, _) = peer.send(Method::POST, None, &headers, body, LIMIT).await?;
    match code {
        code if code.is_success() => Ok(Outcome::Delivered),
        // What cannot get better by itself; everything else may be a deployment, a limit or a token that is replaced.
        StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::GONE
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Ok(Outcome::Refused(code)),
        code => anyhow::bail!("it answered {code}"),
    }
}

/// Read anew for every event: tokens are replaced.
async fn header(shared: &Shared, webhook: &Notification) -> anyhow::Result<Option<String>> {
    let Some(header) = &webhook.header else { return Ok(None) };
    let value = secret(shared, &header.secret, &header.key).await?;
    let no_text = || format!("Secret {}/{} holds no text", shared.namespace, header.secret);
    let value = String::from_utf8(value.0).with_context(no_text)?;
    Ok(Some(value.trim_end().to_owned()))
}

async fn secret(shared: &Shared, name: &str, key: &str) -> anyhow::Result<ByteString> {
    let namespace = &shared.namespace;
    let secrets = Api::<Secret>::namespaced(shared.client.clone(), namespace);
    let secret = tokio::time::timeout(LIMIT, secrets.get(name))
        .await
        .context("the API server did not answer")?
        .with_context(|| format!("Secret {namespace}/{name} of the webhook cannot be read"))?;
    let value = secret.data.unwrap_or_default().remove(key);
    value.with_context(|| format!("Secret {namespace}/{name} has no key {key}"))
}
