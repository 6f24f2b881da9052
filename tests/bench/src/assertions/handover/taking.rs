//! Takes the lead away, in every way that happens to a leader.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::LIMIT;
use crate::assertions::Stand;
use crate::controller::{Controller, NAMESPACE};
use crate::wait;

/// Name of the leader's lease.
pub(super) const LEASE: &str = "palisade-controller";
/// The leader is killed in every so many rounds; its successor takes a moment to start.
const KILL_EVERY: usize = 10;
/// How long a leader hangs.
const HANG: Duration = Duration::from_millis(100);

/// How often the lead was taken in which way.
#[derive(Debug, Default)]
pub(super) struct Taken {
    named: usize,
    hung: usize,
    killed: usize,
    silent: usize,
    freed: usize,
}

impl fmt::Display for Taken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { named, hung, killed, silent, freed } = self;
        let all = named + hung + killed + silent + freed;
        write!(
            out,
            "{all} hand-overs: {named} to another named in the lease, {hung} of a leader stopped by SIGSTOP that woke up \
             later, {killed} of one ended by SIGKILL, {silent} of one whose lease ran out after SIGKILL, {freed} by a \
             lease released or deleted"
        )
    }
}

/// Takes the lead away so many times, and each time waits until somebody leads again.
pub(super) async fn take_the_lead_away(
    stand: &Stand,
    pair: &mut [Controller; 2],
    times: usize,
) -> anyhow::Result<Taken> {
    let leases: Api<Lease> = Api::namespaced(stand.admin.clone(), NAMESPACE);
    let mut taken = Taken::default();
    await_leader(&leases, &[&pair[0].observer, &pair[1].observer], None).await?;
    for round in 0..times {
        let before = leases.get(LEASE).await?;
        let leader = usize::from(holder(&before) != pair[0].observer);
        let other = pair[1 - leader].observer.clone();
        // Long ago: whoever confirms the lead writes a newer time.
        let named =
            |who: &str| json!({ "spec": { "holderIdentity": who, "renewTime": "2001-01-01T00:00:00.000000Z" } });
        let patch = async |body| leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(body)).await.map(drop);
        let mut again = None;
        if round % KILL_EVERY == KILL_EVERY - 1 {
            // In the middle of whatever it did.
            pair[leader].kill().await;
            // Once nobody helps: the other one has to notice by itself that the lease is not renewed, which takes 15 s.
            // The killed one may not come back before: it would lead again under its own name.
            if round + 1 == KILL_EVERY {
                await_leader(&leases, &[&other], before.metadata.resource_version.as_deref()).await?;
                taken.silent += 1;
            } else {
                patch(named(&other)).await?;
                taken.killed += 1;
            }
            again = Some(stand.controller(&pair[leader].observer, &["--leader-elect"]).await?);
        } else {
            match round % 4 {
                0 | 1 => {
                    patch(named(&other)).await?;
                    taken.named += 1;
                }
                2 => {
                    // It wakes up in the middle of whatever it did, and believes that it leads.
                    pair[leader].freeze(true);
                    let named = patch(named(&other)).await;
                    tokio::time::sleep(HANG).await;
                    pair[leader].freeze(false);
                    named?;
                    taken.hung += 1;
                }
                _ => {
                    if round % 8 == 3 {
                        patch(named("")).await?;
                    } else {
                        leases.delete(LEASE, &DeleteParams::default()).await?;
                    }
                    taken.freed += 1;
                }
            }
        }
        let both = [pair[0].observer.as_str(), pair[1].observer.as_str()];
        await_leader(&leases, &both, before.metadata.resource_version.as_deref()).await?;
        if let Some(again) = again {
            pair[leader] = again;
        }
        // Time to get into the middle of something.
        tokio::time::sleep(Duration::from_millis(40 + (round as u64 * 37) % 200)).await;
    }
    Ok(taken)
}

/// Waits until one of these has confirmed that it leads, by a write newer than this version.
async fn await_leader(leases: &Api<Lease>, who: &[&str], before: Option<&str>) -> anyhow::Result<()> {
    wait::until(LIMIT, "somebody leads", async || {
        let Some(lease) = leases.get_opt(LEASE).await? else { return Ok(Err("there is no lease".to_owned())) };
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref()).map(|time| time.0);
        let fresh = renewed.is_some_and(|time| Timestamp::now().duration_since(time).as_secs() < 60)
            && lease.metadata.resource_version.as_deref() != before;
        let known = who.contains(&holder(&lease));
        Ok(if fresh && known { Ok(()) } else { Err(format!("{:?}", lease.spec)) })
    })
    .await
}

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}
