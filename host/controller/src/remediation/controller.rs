//! The reconcilers of the remediation kinds.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::controller::{Action, Config, ReconcileRequest, applier};
use kube::runtime::reflector::{self, ObjectRef, reflector};
use kube::runtime::watcher::{self, watcher};
use tokio::sync::mpsc::UnboundedReceiver;
use tracing::Instrument;

use super::echo::Echoes;
use super::kind::Remediation;
use super::{pass, target};
use crate::context::Context;
use crate::error::Error;

/// So many remediations of a kind are worked on at the same time. A pass mostly waits: for the API server, and for a
/// device to be read before a release. Devices that are slow must not keep the others' passes waiting.
const CONCURRENCY: u16 = 64;

/// Reconciles all remediations of a kind until the future is dropped.
pub async fn run<K: Remediation>(context: Arc<Context>, mut triggers: UnboundedReceiver<(String, String)>) {
    let api: Api<K> = Api::all(context.client.clone());
    let (store, writer) = reflector::store();
    let (board, metrics) = (context.board.clone(), context.metrics.clone());
    let changes = reflector(writer, watcher(api, watcher::Config::default()).default_backoff())
        .inspect_ok(move |event| {
            metrics.remediation(event);
            if let Some(board) = &board {
                board.own(event, |object: &K| serde_json::to_value(object.status()).unwrap_or_default());
            }
        })
        .touched_objects();
    let echoes = Arc::new(Echoes::default());
    let known = echoes.clone();
    let changes = changes.try_filter(move |object: &K| futures::future::ready(!known.is_one(object)));
    let changes = changes.map_ok(|object: K| ReconcileRequest::from(ObjectRef::from_obj(&object)));
    // What sessions and nodes announce arrives beside what the watch of the kind shows.
    let triggers = futures::stream::poll_fn(move |task| triggers.poll_recv(task))
        .map(|(namespace, name)| ObjectRef::<K>::new(&name).within(&namespace))
        .map(|object| Ok::<_, watcher::Error>(ReconcileRequest::from(object)));
    let queue = futures::stream::select(changes, triggers);
    applier(
        move |object, context| reconcile::<K>(object, context, echoes.clone()).boxed(),
        pass::after_error::<K>,
        context,
        store,
        queue.boxed(),
        Config::default().concurrency(CONCURRENCY),
    )
    .for_each(|result| async move {
        if let Err(error) = result {
            // Failed passes are logged where they are retried; what is left are watches, and objects that are gone.
            tracing::debug!(%error, kind = K::KIND, "reconciler");
        }
    })
    .await;
}

/// A pass, if this process leads. A pass that lost the lead is dropped where it is, and looked at again when the lead
/// comes back; a follower keeps its place in the queue, but no request.
async fn reconcile<K: Remediation>(
    object: Arc<K>,
    context: Arc<Context>,
    echoes: Arc<Echoes>,
) -> Result<Action, Error> {
    let leadership = context.leadership.clone();
    let span = object.target(target::node_name(&*object)).span();
    let pass = pass::reconcile(object, context, echoes).instrument(span);
    if let Some(result) = leadership.only_leading(pass).await {
        return result;
    }
    leadership.gained().await;
    Ok(Action::requeue(Duration::ZERO))
}
