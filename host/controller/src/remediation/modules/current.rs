//! The component that a Remediator object means now. When what its source gives cannot be used, the component before
//! stays in use, as long as the object still allows it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use kube::ResourceExt;
use palisade_api::Remediator;
use palisade_oci::Artifact;

use super::oci::Look;
use super::source::{self, Fetched};
use super::{Served, Unserved, check, lock};
use crate::context::Context;

/// What serves, and why it is not what the source gives.
#[derive(Debug, Clone)]
pub struct Current {
    /// The component in use.
    pub served: Served,
    /// Why the newest one is not.
    pub refused: Option<Unserved>,
}

/// The last component of every object that could be used, by the object's UID.
#[derive(Debug, Default)]
pub struct LastGood(Mutex<HashMap<String, Good>>);

#[derive(Debug, Clone)]
struct Good {
    digest: String,
    artifact: Option<Arc<Artifact>>,
}

impl LastGood {
    pub fn keep(&self, remediators: &HashSet<String>) {
        lock(&self.0).retain(|uid, _| remediators.contains(uid));
    }

    pub fn digests(&self) -> HashSet<String> {
        lock(&self.0).values().map(|good| good.digest.clone()).collect()
    }
}

/// What serves now.
pub async fn current(context: &Context, remediator: &Remediator, look: Look) -> Result<Current, Unserved> {
    let newest = match source::fetch(context, remediator, look).await {
        Ok(fetched) => use_it(context, remediator, fetched).await,
        Err(why) => Err(why),
    };
    match newest {
        Ok(served) => Ok(Current { served, refused: None }),
        Err(why) => match earlier(context, remediator).await {
            Some(served) => Ok(Current { served, refused: Some(why) }),
            None => Err(why),
        },
    }
}

async fn use_it(context: &Context, remediator: &Remediator, fetched: Fetched) -> Result<Served, Unserved> {
    let bytes = fetched.bytes.clone();
    let served = check::check(context, remediator, fetched).await?;
    let digest = served.module.digest();
    let good = Good { digest: digest.to_owned(), artifact: served.artifact.clone() };
    let uid = remediator.uid().unwrap_or_default();
    let before = lock(&context.modules.good.0).insert(uid, good);
    if before.is_none_or(|before| before.digest != digest)
        && let Some(store) = &context.modules.store
    {
        store.put(digest, &bytes, served.artifact.as_deref());
    }
    Ok(served)
}

/// The one before: of this process, or of an earlier one, as the status says.
async fn earlier(context: &Context, remediator: &Remediator) -> Option<Served> {
    let known = lock(&context.modules.good.0).get(&remediator.uid().unwrap_or_default()).cloned();
    let digest = match &known {
        Some(good) => good.digest.clone(),
        None => remediator.status.as_ref()?.module.as_ref()?.digest.clone(),
    };
    // The object may have come to want another one; then the earlier one is not what it means.
    if remediator.spec.digest.as_ref().is_some_and(|wanted| *wanted != digest) {
        return None;
    }
    by_digest(context, remediator, &digest, known.and_then(|good| good.artifact)).await.ok()
}

/// A component that was loaded or kept, under what the object allows now.
pub async fn by_digest(
    context: &Context,
    remediator: &Remediator,
    digest: &str,
    artifact: Option<Arc<Artifact>>,
) -> Result<Served, String> {
    let modules = &context.modules;
    let kept = || modules.store.as_ref().and_then(|store| store.get(digest));
    let (module, artifact) = match (modules.known(digest), artifact) {
        (Some(Ok(module)), Some(artifact)) => (module, Some(artifact)),
        (Some(Ok(module)), None) => (module, kept().and_then(|(_, artifact)| artifact).map(Arc::new)),
        (Some(Err((_, why))), _) => return Err(why),
        (None, artifact) => {
            let (bytes, stored) = kept().ok_or("it is not kept any more")?;
            let module = modules.load(digest, Arc::new(bytes)).await.map_err(|(_, why)| why)?;
            (module, artifact.or_else(|| stored.map(Arc::new)))
        }
    };
    check::signed(remediator, artifact.as_deref()).map_err(|why| why.message)?;
    check::granted(remediator, module, artifact).map_err(|why| why.message)
}
