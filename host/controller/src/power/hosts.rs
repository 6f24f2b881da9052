//! Requests about `BareMetalHosts`.

use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use super::bare_metal::{self, Seen, Shows};
use super::fault::{Fault, Goal, Reading};
use crate::clock;

/// Pause between two looks at a host.
const POLL: Duration = Duration::from_secs(1);
/// A request that takes longer is tried again.
const REQUEST: Duration = Duration::from_secs(10);

/// One host, and the remediation that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOf {
    /// Namespace of the host.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// UID of the remediation.
    pub remediation: String,
    /// So many attempts at most.
    pub attempts: i64,
    /// A switch that is not seen in the host's status after this time has failed.
    pub limit: Duration,
}

/// How hosts are asked for.
pub fn resource() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("metal3.io", "v1alpha1", "BareMetalHost"))
}

impl HostOf {
    fn hold(&self) -> String {
        bare_metal::hold(&self.remediation)
    }

    fn api(&self, client: &Client) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), &self.namespace, &resource())
    }

    /// Whether it may be held off. It is not touched.
    pub async fn check(&self, client: &Client) -> Result<(), Fault> {
        bare_metal::may_hold(&self.get(client).await?, &self.hold())
    }

    /// The host as it is now.
    pub async fn get(&self, client: &Client) -> Result<Value, Fault> {
        let named = format!("BareMetalHost {}/{}", self.namespace, self.name);
        match tokio::time::timeout(REQUEST, self.api(client).get_opt(&self.name)).await {
            Ok(Ok(Some(host))) => Ok(serde_json::to_value(host).unwrap_or_default()),
            Ok(Ok(None)) => Err(Fault::Invalid(format!("{named} does not exist (any more)"))),
            Ok(Err(error)) => Err(Fault::Unreachable(format!("{named} cannot be read: {error}"))),
            Err(_) => Err(Fault::Unreachable(format!("{named} cannot be read: no answer within {REQUEST:?}"))),
        }
    }

    /// What the host shows. Off is what we hold off, unless `goal` is on: then any off is off.
    pub async fn read(&self, client: &Client, goal: Goal, seen: &mut Seen) -> Result<Reading, Fault> {
        let started = clock::now();
        loop {
            let host = self.get(client).await?;
            let shows = self.judge(client, &host, seen).await?;
            match (shows, goal) {
                (Shows::On, Goal::On) if bare_metal::is_held(&host, &self.hold()) => return Ok(Reading::Off),
                (Shows::On, _) | (Shows::Off, Goal::Off) => return Ok(Reading::On),
                (Shows::HeldOff, _) | (Shows::Off | Shows::Unsettled, Goal::On) => return Ok(Reading::Off),
                (Shows::Unsettled, Goal::Off) => {}
            }
            self.pause(started, "does not settle").await?;
        }
    }

    /// Holds it off, or lets it go, and waits until the host shows it.
    pub async fn switch(&self, client: &Client, goal: Goal, seen: &mut Seen) -> Result<(), Fault> {
        match goal {
            Goal::Off => self.hold_off(client).await?,
            Goal::On => {
                let let_go = bare_metal::let_go(&self.remediation);
                self.annotate(client, let_go, None).await.map_err(|error| self.unchanged(&error))?;
            }
        }
        let started = clock::now();
        loop {
            let host = self.get(client).await?;
            match (goal, self.judge(client, &host, seen).await?) {
                (Goal::Off, Shows::HeldOff) | (Goal::On, Shows::On) => return Ok(()),
                (Goal::On, _) => {
                    if let Some(why) = bare_metal::kept_off(&host, &self.hold()) {
                        return Err(why);
                    }
                }
                (Goal::Off, Shows::Off) => {
                    let key = self.hold();
                    return Err(Fault::Failed(format!(
                        "somebody removed {key} from the host; it is not held off any more"
                    )));
                }
                (Goal::Off, _) => {}
            }
            let what = if goal == Goal::Off { "does not go off" } else { "does not go on" };
            self.pause(started, what).await?;
        }
    }

    /// Marks it as one that is not to be chosen again. The mark stays: who repairs the host takes it away.
    pub async fn condemn(&self, client: &Client) -> Result<(), kube::Error> {
        let (key, value) = bare_metal::UNHEALTHY;
        self.annotate(client, json!({ key: value }), None).await
    }

    async fn pause(&self, started: palisade_core::time::Mono, what: &str) -> Result<(), Fault> {
        if clock::now().since(started) >= self.limit {
            return Err(Fault::TimedOut(format!(
                "BareMetalHost {}/{} {what} within {:?}",
                self.namespace, self.name, self.limit
            )));
        }
        tokio::time::sleep(POLL).await;
        Ok(())
    }

    /// Holds it off. What it shows in that moment is kept with the hold, so it must not have changed meanwhile. A hold
    /// that is there stays as it is.
    async fn hold_off(&self, client: &Client) -> Result<(), Fault> {
        let started = clock::now();
        loop {
            let host = self.get(client).await?;
            bare_metal::may_hold(&host, &self.hold())?;
            if bare_metal::is_held(&host, &self.hold()) {
                return Ok(());
            }
            match self.annotate(client, bare_metal::held(&host, &self.remediation), Some(&host)).await {
                Err(kube::Error::Api(status)) if status.is_conflict() => {}
                result => return result.map_err(|error| self.unchanged(&error)),
            }
            self.pause(started, "changes all the time and cannot be held").await?;
        }
    }

    /// What it shows. What is new of it is kept for the next process: a lost race only means that it is kept later.
    async fn judge(&self, client: &Client, host: &Value, seen: &mut Seen) -> Result<Shows, Fault> {
        let shows = bare_metal::judge(host, &self.remediation, seen, clock::now())?;
        if let Some(news) = seen.news(host, &self.remediation, clock::now())
            && let Err(error) = self.annotate(client, news, Some(host)).await
        {
            tracing::debug!(host = self.name, %error, "what was seen of it is not kept yet");
        }
        Ok(shows)
    }

    /// Writes or removes annotations of ours and nothing else; with `as_read` only if nobody wrote to it since then.
    async fn annotate(&self, client: &Client, ours: Value, as_read: Option<&Value>) -> Result<(), kube::Error> {
        let version = as_read.and_then(|host| host.pointer("/metadata/resourceVersion"));
        patch(&self.api(client), &self.name, ours, version).await
    }

    fn unchanged(&self, error: &kube::Error) -> Fault {
        Fault::Unreachable(format!("BareMetalHost {}/{} cannot be changed: {error}", self.namespace, self.name))
    }
}

async fn patch(
    api: &Api<DynamicObject>,
    name: &str,
    annotations: Value,
    version: Option<&Value>,
) -> Result<(), kube::Error> {
    let mut patch = json!({ "metadata": { "annotations": annotations } });
    if let Some(version) = version {
        patch["metadata"]["resourceVersion"] = version.clone();
    }
    let request = async { api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop) };
    tokio::time::timeout(REQUEST, request)
        .await
        .unwrap_or_else(|_| Err(kube::Error::Service(format!("no answer within {REQUEST:?}").into())))
}

/// Lets go of every host that a remediation holds, also when nothing leads to it any more.
pub async fn let_go(client: &Client, remediation: &str) -> Result<(), kube::Error> {
    let (key, mark) = (bare_metal::hold(remediation), bare_metal::mark(remediation));
    let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource());
    let hosts = match all.list(&ListParams::default()).await {
        Ok(hosts) => hosts,
        // There are no such hosts in this cluster.
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(error) => return Err(error),
    };
    for host in
        hosts.items.into_iter().filter(|host| [&key, &mark].iter().any(|key| host.annotations().contains_key(*key)))
    {
        let api = Api::namespaced_with(client.clone(), &host.namespace().unwrap_or_default(), &resource());
        match patch(&api, &host.name_any(), bare_metal::let_go(remediation), None).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            result => result?,
        }
    }
    Ok(())
}
