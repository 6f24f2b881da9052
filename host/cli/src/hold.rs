//! `palisade pause`, `resume` and `veto`: a person holds remediation back, under their own name.

use anyhow::{Context, bail, ensure};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Resource, ResourceExt};
use palisade_api::NodeHealthCheck;
use palisade_api::keys::palisade::VETO;
use palisade_core::health::parse_veto;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::connect::{Connection, user, wait};

/// So often somebody else's change in between is answered by reading again.
const ATTEMPTS: usize = 5;

/// `palisade pause POLICY`.
#[derive(Debug, Args)]
pub struct Pause {
    /// The `NodeHealthCheck`.
    policy: String,
    /// Why: shown by everything that says that the policy is paused.
    #[arg(long, value_name = "REASON")]
    why: String,
    #[command(flatten)]
    connection: Connection,
}

/// `palisade resume POLICY`.
#[derive(Debug, Args)]
pub struct Resume {
    /// The `NodeHealthCheck`.
    policy: String,
    /// Only this request, word by word.
    #[arg(long, value_name = "REASON", conflicts_with = "all")]
    why: Option<String>,
    /// All requests, also those of others.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    connection: Connection,
}

/// `palisade veto KIND/NAME`.
#[derive(Debug, Args)]
pub struct Veto {
    /// `node/worker-1`, or `policy/workers` for all nodes of a policy.
    #[arg(value_name = "KIND/NAME")]
    target: String,
    /// Why.
    #[arg(long, value_name = "REASON", required_unless_present = "lift")]
    why: Option<String>,
    /// How long: `2h`, `30m`, or `never` for one without end.
    #[arg(long = "for", value_name = "TIME", default_value = "8h")]
    length: String,
    /// Take it back.
    #[arg(long, conflicts_with = "why")]
    lift: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Adds a request.
pub fn pause(arguments: &Pause) -> anyhow::Result<()> {
    let why = arguments.why.trim();
    ensure!(!why.is_empty(), "--why is empty; whoever finds the policy paused wants to know the reason");
    wait(async {
        let client = arguments.connection.client().await?;
        let request = format!("{why} ({})", user(&client).await?);
        let held = requests(&client, &arguments.policy, |held| {
            let mut held = held.to_vec();
            if !held.contains(&request) {
                held.push(request.clone());
            }
            Ok(held)
        });
        println!("{} is paused: {}", arguments.policy, held.await?.join("; "));
        Ok(())
    })
}

/// Removes one request, or all.
pub fn resume(arguments: &Resume) -> anyhow::Result<()> {
    wait(async {
        let client = arguments.connection.client().await?;
        let mine = format!("({})", user(&client).await?);
        let left = requests(&client, &arguments.policy, |held| {
            let goes = |request: &String| match &arguments.why {
                _ if arguments.all => true,
                Some(why) => request == why || *request == format!("{why} {mine}"),
                None => request.ends_with(&mine),
            };
            let left: Vec<String> = held.iter().filter(|request| !goes(request)).cloned().collect();
            if left.len() == held.len() && !held.is_empty() {
                bail!(
                    "none of its requests is that one, or yours: {}; name one with --why, or take back all with --all",
                    held.join("; ")
                );
            }
            Ok(left)
        });
        match left.await?.as_slice() {
            [] => println!("{} is not paused", arguments.policy),
            left => println!("{} is still paused: {}", arguments.policy, left.join("; ")),
        }
        Ok(())
    })
}

/// The list is one value to the API server, so it is changed only in the version that was read.
async fn requests(
    client: &Client,
    policy: &str,
    change: impl Fn(&[String]) -> anyhow::Result<Vec<String>>,
) -> anyhow::Result<Vec<String>> {
    let api: Api<NodeHealthCheck> = Api::all(client.clone());
    for _ in 0..ATTEMPTS {
        let found = api.get(policy).await.with_context(|| format!("NodeHealthCheck {policy}"))?;
        let held = change(&found.spec.pause_requests)?;
        if held == found.spec.pause_requests {
            return Ok(held);
        }
        let version = json!({ "resourceVersion": found.resource_version() });
        // Without an entry the field goes: the policy is as it was before it was ever paused.
        let wanted = if held.is_empty() { Value::Null } else { json!(held) };
        let patch = json!({ "metadata": version, "spec": { "pauseRequests": wanted } });
        match api.patch(policy, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(held),
            Err(kube::Error::Api(status)) if status.is_conflict() => {}
            Err(error) => return Err(error).context(format!("NodeHealthCheck {policy}")),
        }
    }
    bail!("NodeHealthCheck {policy} was changed by others {ATTEMPTS} times meanwhile; try again")
}

/// Sets it, or takes it back.
pub fn veto(arguments: &Veto) -> anyhow::Result<()> {
    let wanted = "node/NAME or policy/NAME";
    let (kind, name) =
        arguments.target.split_once('/').with_context(|| format!("{:?} is not {wanted}", arguments.target))?;
    wait(async {
        let client = arguments.connection.client().await?;
        let value = match (&arguments.why, arguments.lift) {
            (Some(why), false) => Some(text(&user(&client).await?, why, until(&arguments.length, Timestamp::now())?)?),
            _ => None,
        };
        match kind.to_lowercase().as_str() {
            "node" | "nodes" | "no" => annotate(Api::<Node>::all(client), name, value.as_deref()).await?,
            "policy" | "nodehealthcheck" | "nodehealthchecks" | "nhc" => {
                annotate(Api::<NodeHealthCheck>::all(client), name, value.as_deref()).await?;
            }
            other => bail!("{other:?} cannot be vetoed; it is {wanted}"),
        }
        match value {
            Some(value) => println!("no remediation of {kind} {name}: {value}"),
            None => println!("{kind} {name} is not vetoed"),
        }
        Ok(())
    })
}

async fn annotate<K>(api: Api<K>, name: &str, value: Option<&str>) -> anyhow::Result<()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug,
{
    let patch = json!({ "metadata": { "annotations": { VETO: value } } });
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop).with_context(|| name.to_owned())
}

/// Its end; none for `never`.
fn until(length: &str, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
    if length == "never" {
        return Ok(None);
    }
    let wrong = || format!("--for {length:?} is no length of time; write for example 2h, 30m, or never");
    let length: SignedDuration = length.parse().with_context(wrong)?;
    ensure!(length.is_positive(), "--for has to be longer than nothing");
    Ok(Some(now.checked_add(length).with_context(wrong)?))
}

/// The annotation, checked by the one who reads it.
fn text(owner: &str, why: &str, until: Option<Timestamp>) -> anyhow::Result<String> {
    let end = until.map_or_else(|| "never".to_owned(), |end| end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let text = format!("owner={owner}; until={end}; reason={}", why.trim());
    let read = parse_veto(&text).context("the reason must not contain a semicolon")?;
    ensure!(read.owner == owner && read.reason == why.trim(), "the reason must not contain a semicolon");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_the_controller_reads() {
        let now: Timestamp = "2026-01-31T18:00:00Z".parse().unwrap();
        let end = until("2h", now).unwrap();
        let written = text("ann", "disk is replaced", end).unwrap();
        assert_eq!(written, "owner=ann; until=2026-01-31T20:00:00Z; reason=disk is replaced");
        assert_eq!(parse_veto(&written).unwrap().until, end);
        assert_eq!(parse_veto(&text("ann", "broken", until("never", now).unwrap()).unwrap()).unwrap().until, None);
    }

    #[test]
    fn what_cannot_be_read_back_is_refused() {
        let now = Timestamp::UNIX_EPOCH;
        assert!(text("ann", "disk; until=never", None).is_err());
        assert!(text("ann", "", None).is_err());
        let error = format!("{:#}", until("soon", now).unwrap_err());
        assert!(error.contains("--for \"soon\"") && error.contains("30m"), "{error}");
        assert!(until("-2h", now).is_err());
    }
}
