//! Whether a remediation still wants its node fenced, by what the API has of it now.
//!
//! A session may outlive its remediation: another controller let it go, or somebody took the finalizer away by hand. So
//! it asks before everything that begins something new.

use kube::ResourceExt;
use kube::api::Api;

use super::read::limited;
use crate::context::{Context, Target};
use crate::error::Error;
use crate::remediation::kind::{Remediation, every_kind};
use crate::remediation::status;

/// Whether it does: it exists, is not being deleted, was not given up, and has not released anything yet.
pub async fn wants_fencing(context: &Context, target: &Target) -> Result<bool, Error> {
    every_kind!(K => if target.kind == <K as Remediation>::KIND {
        return wants::<K>(context, target).await;
    });
    Ok(false)
}

async fn wants<K: Remediation>(context: &Context, target: &Target) -> Result<bool, Error> {
    let api = Api::<K>::namespaced(context.client.clone(), &target.namespace);
    let current = limited("remediation", api.get_opt(&target.name)).await?;
    Ok(current.is_some_and(|current| {
        current.uid().as_deref() == Some(target.uid.as_str())
            && !current.deleting()
            && !current.timed_out()
            && !status::is_completed(&current.status())
    }))
}
