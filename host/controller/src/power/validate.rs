//! Tries the parameters of templates with a harmless status request, before anybody needs them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use palisade_api::fence_agents_remediation::{FenceAgentsRemediationSpec, FenceAgentsRemediationTemplate};
use palisade_api::{FenceAgentsRemediationTemplate as Template, IntOrString};
use serde_json::json;

use super::agent::{Agents, Machine};
use crate::clock;

/// Condition of a template.
const VALIDATED: &str = "FenceAgentStatusValidationSucceeded";
/// One status request takes no longer.
const LIMIT: Duration = Duration::from_secs(15);
/// So many devices of one template are asked at the same time.
const PARALLEL: usize = 4;
/// A template whose status cannot be written, or whose watch ends, is looked at again after this.
const AGAIN: Duration = Duration::from_secs(10);

/// Nodes that are tried: so many as the sample says, a part of a percentage rounded up, and whether it says more than
/// there are.
pub fn sample(spec: &FenceAgentsRemediationSpec, wanted: &IntOrString) -> (Vec<String>, bool) {
    let maps = spec.node_parameters.values().flat_map(BTreeMap::keys);
    let nodes: BTreeSet<&String> = maps.chain(spec.node_secret_names.keys()).collect();
    let count = match wanted {
        IntOrString::Int(count) => usize::try_from(*count).unwrap_or(0),
        IntOrString::Text(text) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
            (nodes.len() * percent.min(100)).div_ceil(100)
        }
    };
    (nodes.iter().take(count).map(|name| (*name).clone()).collect(), count > nodes.len())
}

/// Validates templates until the future is dropped.
pub async fn run(client: Client, agents: Arc<Agents>) {
    loop {
        let api: Api<Template> = Api::all(client.clone());
        let mut changes = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
        while let Some(change) = changes.next().await {
            let Ok(template) = change else { continue };
            if is_due(&template) && validate(&client, &agents, &template).await.is_err() {
                tokio::time::sleep(AGAIN).await;
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether this generation was not tried yet.
fn is_due(template: &Template) -> bool {
    let conditions = template.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let seen = conditions.iter().find(|condition| condition.type_ == VALIDATED);
    let wanted = template.spec.status_validation_sample.is_some();
    match seen {
        None => wanted,
        Some(seen) => !wanted || seen.observed_generation != template.metadata.generation,
    }
}

async fn validate(
    client: &Client,
    agents: &Arc<Agents>,
    template: &FenceAgentsRemediationTemplate,
) -> Result<(), kube::Error> {
    let namespace = template.namespace().unwrap_or_default();
    let spec = &template.spec.template.spec;
    let api: Api<Template> = Api::namespaced(client.clone(), &namespace);
    let Some(wanted) = &template.spec.status_validation_sample else {
        let nothing = json!({ "status": { "conditions": null, "validationPassed": null, "validationFailed": null } });
        return api
            .patch_status(&template.name_any(), &PatchParams::default(), &Patch::Merge(&nothing))
            .await
            .map(drop);
    };
    let (nodes, too_many) = sample(spec, wanted);
    let results: Vec<(String, Result<(), String>)> = stream::iter(nodes)
        .map(|node| {
            let machine = Machine {
                mark: format!("validate-{}-{node}", template.uid().unwrap_or_default()),
                node: node.clone(),
                namespace: namespace.clone(),
                spec: spec.clone(),
            };
            async move {
                // On or off: either way the device answered for this node.
                let answer = agents.read_within(client, &machine, LIMIT).await;
                (node, answer.map(drop).map_err(|fault| fault.to_string()))
            }
        })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let passed: BTreeMap<&String, &str> =
        results.iter().filter(|(_, result)| result.is_ok()).map(|(node, _)| (node, "the device answers")).collect();
    let failed: BTreeMap<&String, &String> =
        results.iter().filter_map(|(node, result)| Some((node, result.as_ref().err()?))).collect();
    let (status, reason) =
        if failed.is_empty() { ("True", "ValidationSucceeded") } else { ("False", "ValidationFailed") };
    let mut message = format!("{} of {} devices answer", passed.len(), results.len());
    if too_many {
        message.push_str("; the sample is larger than the number of nodes that the template names");
    }
    let patch = json!({ "status": {
        "conditions": [{
            "type": VALIDATED, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": clock::wall_at(clock::now()), "observedGeneration": template.metadata.generation,
        }],
        // What an earlier generation left is replaced, not merged.
        "validationPassed": replacing(template.status.as_ref().map(|status| &status.validation_passed), &passed),
        "validationFailed": replacing(template.status.as_ref().map(|status| &status.validation_failed), &failed),
    } });
    api.patch_status(&template.name_any(), &PatchParams::default(), &Patch::Merge(&patch)).await.map(drop)
}

/// As a merge patch: what is not there any more is null.
fn replacing<T: ToString>(
    old: Option<&BTreeMap<String, String>>,
    new: &BTreeMap<&String, T>,
) -> BTreeMap<String, Option<String>> {
    let removed = old.into_iter().flatten().map(|(node, _)| (node.clone(), None));
    removed.chain(new.iter().map(|(node, text)| ((*node).clone(), Some(text.to_string())))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> FenceAgentsRemediationSpec {
        let nodes: BTreeMap<String, String> = ["n1", "n2", "n3"].map(|node| (node.to_owned(), "1".to_owned())).into();
        FenceAgentsRemediationSpec {
            node_parameters: BTreeMap::from([("--plug".to_owned(), nodes)]),
            ..FenceAgentsRemediationSpec::default()
        }
    }

    #[test]
    fn fa_27_a_sample_is_rounded_up_and_capped() {
        let count = |wanted: IntOrString| {
            let (nodes, too_many) = sample(&three(), &wanted);
            (nodes.len(), too_many)
        };
        assert_eq!(count(IntOrString::Text("34%".into())), (2, false));
        assert_eq!(count(IntOrString::Text("0%".into())), (0, false));
        assert_eq!(count(IntOrString::Text("100%".into())), (3, false));
        assert_eq!(count(IntOrString::Int(10)), (3, true));
        assert_eq!(count(IntOrString::Int(1)), (1, false));
    }
}
