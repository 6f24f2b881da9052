//! The component for one remediation: the one it began with, as long as that may be used.

use kube::ResourceExt;
use palisade_api::progress::ModuleReference;
use palisade_api::{RemediationStrategy, Remediator};
use palisade_runtime::{Granted, Limits};
use serde_json::Value;

use super::oci::Look;
use super::{Served, Unserved, current, reason};
use crate::context::Context;
use crate::remediation::kind::Choice;
use crate::remediation::schema;

/// Component of strategy `ResourceDeletion`.
const SELF_NODE: &str = "self-node";
/// Component of strategy `OutOfServiceTaint`.
const OUT_OF_SERVICE: &str = "out-of-service-taint";

/// Finds and loads what serves a remediation that began with `began`, if it began.
pub async fn serve(
    context: &Context,
    kind: &str,
    choice: &Choice,
    began: Option<&ModuleReference>,
) -> Result<Served, Unserved> {
    let remediators = context.remediators.state();
    match choice {
        Choice::Named(name, parameters) => {
            let Some(remediator) = remediators.iter().find(|remediator| remediator.name_any() == *name) else {
                return Err(Unserved::new(
                    reason::SOURCE,
                    format!(
                        "spec.remediator names {name:?}, but there is no Remediator of that name; create it or correct the name (kubectl get remediators)"
                    ),
                ));
            };
            by_object(context, remediator, parameters.clone(), began).await
        }
        Choice::Builtin(name, parameters) => {
            let object = remediators.iter().find(|it| it.spec.serves.iter().any(|serves| serves.kind == kind));
            match object {
                Some(remediator) => by_object(context, remediator, parameters.clone(), began).await,
                None => by_name(context, name).await.map(|served| Served { parameters: parameters.clone(), ..served }),
            }
        }
        Choice::Strategy(strategy) => {
            let word = resolve(strategy, context.server_version().await)?;
            let object = remediators.iter().find(|remediator| {
                remediator.spec.serves.iter().any(|serves| {
                    serves.kind == kind
                        && (serves.strategies.is_empty()
                            || serves.strategies.iter().any(|served| served == word || served == strategy.as_str()))
                })
            });
            match object {
                Some(remediator) => by_object(context, remediator, Value::Object(serde_json::Map::new()), began).await,
                None => by_name(context, if word == "OutOfServiceTaint" { OUT_OF_SERVICE } else { SELF_NODE }).await,
            }
        }
    }
}

/// The strategy that is meant: Automatic picks what the cluster supports.
fn resolve(strategy: &RemediationStrategy, version: Option<(u32, u32)>) -> Result<&'static str, Unserved> {
    match strategy {
        RemediationStrategy::ResourceDeletion => Ok("ResourceDeletion"),
        RemediationStrategy::OutOfServiceTaint => Ok("OutOfServiceTaint"),
        RemediationStrategy::Unknown(word) if !word.is_empty() => Err(Unserved::new(
            reason::INVALID,
            format!(
                "spec.remediationStrategy is {word:?}, which is not a strategy; use Automatic, ResourceDeletion or OutOfServiceTaint"
            ),
        )),
        RemediationStrategy::Automatic | RemediationStrategy::Unknown(_) => {
            Ok(if version.is_some_and(|version| version >= (1, 28)) { "OutOfServiceTaint" } else { "ResourceDeletion" })
        }
    }
}

async fn by_name(context: &Context, name: &str) -> Result<Served, Unserved> {
    let path = context.modules.folder.join(format!("{name}.wasm"));
    let unserved = |detail: String| {
        Unserved::new(
            reason::SOURCE,
            format!(
                "the built-in remediator {name} ({}) cannot be used: {detail}; check --remediators of the controller",
                path.display()
            ),
        )
    };
    let file = context.modules.files.read(&path).map_err(&unserved)?;
    let module = context.modules.load(&file.digest, file.bytes).await.map_err(|(_, detail)| unserved(detail))?;
    Ok(Served {
        remediator: name.to_owned(),
        module,
        granted: Granted::all(),
        limits: Limits::default(),
        parameters: Value::Object(serde_json::Map::new()),
        artifact: None,
        instead: None,
    })
}

/// A component as a Remediator object describes it, with parameters that fit it.
async fn by_object(
    context: &Context,
    remediator: &Remediator,
    parameters: Value,
    began: Option<&ModuleReference>,
) -> Result<Served, Unserved> {
    let name = remediator.name_any();
    let now = current::current(context, remediator, Look::IfMissing).await.map(|current| current.served);
    let digest = now.as_ref().map(|served| served.module.digest().to_owned());
    let began = began.filter(|began| began.remediator == name && digest.as_ref() != Ok(&began.digest));
    let mut served = match began {
        None => now?,
        Some(began) => match current::by_digest(context, remediator, &began.digest, None).await {
            Ok(served) => served,
            Err(why) => {
                let mut served = now?;
                served.instead = Some(format!(
                    "it began with version {} ({}) of remediator {name}, which cannot be used any more: {why}; it goes \
                     on with version {} ({})",
                    began.version,
                    began.digest,
                    served.module.manifest().version,
                    served.module.digest()
                ));
                served
            }
        },
    };
    schema::check(&served.module.manifest().parameters, &parameters).map_err(|detail| {
        Unserved::new(
            reason::INVALID,
            format!("spec.parameters do not fit remediator {name}: {detail}; correct them in the template"),
        )
    })?;
    served.parameters = parameters;
    Ok(served)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_picks_what_the_cluster_supports() {
        let automatic = RemediationStrategy::Automatic;
        assert_eq!(resolve(&automatic, Some((1, 27))), Ok("ResourceDeletion"));
        assert_eq!(resolve(&automatic, Some((1, 28))), Ok("OutOfServiceTaint"));
        assert_eq!(resolve(&automatic, None), Ok("ResourceDeletion"));
        assert_eq!(resolve(&RemediationStrategy::Unknown(String::new()), None), Ok("ResourceDeletion"));
    }

    #[test]
    fn an_unknown_strategy_names_field_and_remedy() {
        let error = resolve(&RemediationStrategy::Unknown("NodeDeletion".into()), None).unwrap_err().to_string();
        assert!(error.contains("spec.remediationStrategy") && error.contains("use Automatic"), "{error}");
    }
}
