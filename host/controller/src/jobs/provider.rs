//! The list, and running what is on it.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use palisade_core::fencing::proof::{Grade, ProofKind};
use palisade_runtime::{Answered, Effect, JobState, JobView, JobsView, RefusalReason};

use super::definition::{self, For};
use super::outcome;
use crate::clock;
use crate::error::Error;
use crate::fence::read::limited;
use crate::remediation::committed;
use crate::remediation::outside::{About, Jobs, Sighting};

/// Suspended `CronJobs` of the controller's namespace.
#[derive(Debug, Clone, Copy, Default)]
pub struct CronJobs;

fn namespace<'a>(about: &About<'a>) -> &'a str {
    &about.context.options.namespace
}

fn jobs(about: &About<'_>) -> Api<Job> {
    Api::namespaced(about.context.client.clone(), namespace(about))
}

async fn entries(about: &About<'_>) -> Result<Vec<CronJob>, Error> {
    let api: Api<CronJob> = Api::namespaced(about.context.client.clone(), namespace(about));
    let listed = ListParams::default().labels(&format!("{}=true", definition::LISTED));
    Ok(limited("list of jobs", api.list(&listed)).await?.items)
}

/// The jobs of this remediation, by their name on the list.
async fn made(about: &About<'_>) -> Result<BTreeMap<String, Job>, Error> {
    let ours = ListParams::default().labels(&format!("{}={}", definition::REMEDIATION, about.target.uid));
    let found = limited("jobs of the remediation", jobs(about).list(&ours)).await?;
    Ok(found.into_iter().filter_map(|job| Some((job.labels().get(definition::ENTRY)?.clone(), job))).collect())
}

async fn pods(about: &About<'_>, job: &Job) -> Result<Vec<Pod>, Error> {
    let api: Api<Pod> = Api::namespaced(about.context.client.clone(), namespace(about));
    let of = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={}", job.name_any()));
    Ok(limited("pods of the job", api.list(&of)).await?.items)
}

/// Whether a run of this entry was committed and done.
fn was_run(about: &About<'_>, name: &str) -> bool {
    let wanted = Effect::RunJob { name: name.to_owned() };
    about.progress.applied.iter().any(|known| committed::effect(known).as_ref() == Some(&wanted))
}

async fn look(about: &About<'_>, entry: &CronJob, job: Option<&Job>) -> Result<Answered<JobView>, Error> {
    let name = entry.name_any();
    let is_evidence = definition::is_evidence(entry);
    if let Some(job) = job {
        return Ok(Ok(outcome::view(job, &pods(about, job).await?, &clock::wall(), is_evidence)));
    }
    if was_run(about, &name) {
        // Somebody removed it. A second run might do again what must be done once.
        let detail = "the Job is gone, and nobody knows what came of it; it is not run again".to_owned();
        return Ok(Ok(JobView { state: JobState::Failed, detail, is_evidence, ..JobView::default() }));
    }
    Ok(definition::check(entry, &about.target.namespace)
        .map(|()| JobView { is_evidence, ..JobView::default() })
        .map_err(RefusalReason::Refused))
}

impl Jobs for CronJobs {
    fn listed<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Answered<JobsView>, Error>> {
        async move {
            let made = made(about).await?;
            let mut listed = BTreeMap::new();
            for entry in entries(about).await? {
                let name = entry.name_any();
                let answer = look(about, &entry, made.get(&name)).await?;
                listed.insert(name, answer);
            }
            Ok(Ok(JobsView { listed }))
        }
        .boxed()
    }

    fn run<'a>(&'a self, about: &'a About<'a>, name: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        async move {
            if made(about).await?.contains_key(name) {
                return Ok(true);
            }
            let entries = entries(about).await?;
            let Some(entry) = entries.iter().find(|entry| entry.name_any() == name) else { return Ok(false) };
            if let Err(why) = definition::check(entry, &about.target.namespace) {
                tracing::warn!(remediation = about.target.name, why, "the job is not run");
                return Ok(false);
            }
            let target = about.target;
            let intent = about.fence.and_then(|fence| fence.intent_uid.clone()).unwrap_or_default();
            if intent.is_empty() && definition::is_evidence(entry) {
                // It would have to be run again to prove anything.
                return Ok(false);
            }
            let boot = about.fence.and_then(|fence| fence.boot.as_ref()).map(ToString::to_string).unwrap_or_default();
            let about_job = For {
                uid: &target.uid,
                kind: target.kind,
                api_version: &target.api_version,
                namespace: &target.namespace,
                name: &target.name,
                node: &target.node,
                boot: &boot,
                intent: &intent,
            };
            let Some(job) = definition::build(entry, &about_job) else { return Ok(false) };
            // Its name says whose it is: of two tries, one makes it.
            match limited("job", jobs(about).create(&PostParams::default(), &job)).await {
                Ok(_) => Ok(true),
                Err(Error::Conflict) => Ok(made(about).await?.contains_key(name)),
                Err(error) => Err(error),
            }
        }
        .boxed()
    }

    fn evidence<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<Option<Sighting>, Error>> {
        async move {
            let Some(boot) = about.fence.and_then(|fence| fence.boot.clone()) else { return Ok(None) };
            let made = made(about).await?;
            for entry in entries(about).await?.iter().filter(|entry| definition::is_evidence(entry)) {
                let name = entry.name_any();
                let Some(job) = made.get(&name) else { continue };
                let Ok(view) = look(about, entry, Some(job)).await? else { continue };
                // A job that names the intent was made after it, and so after the marks: no clocks are compared.
                let intent = about.fence.and_then(|fence| fence.intent_uid.as_ref());
                let about_it = intent.is_some() && job.annotations().get(definition::INTENT) == intent;
                if view.state == JobState::Succeeded && about_it {
                    let what = format!(
                        "job {}/{} ended with success, declared to be evidence",
                        namespace(about),
                        job.name_any()
                    );
                    return Ok(Some(Sighting {
                        kind: ProofKind::PoweredOff,
                        grade: Grade::Certain,
                        boot,
                        begun: clock::now(),
                        explanation: what,
                    }));
                }
            }
            Ok(None)
        }
        .boxed()
    }

    fn clean_up<'a>(&'a self, about: &'a About<'a>) -> BoxFuture<'a, Result<(), Error>> {
        async move {
            for job in made(about).await?.into_values().filter(|job| !is_over(job)) {
                let parameters = DeleteParams {
                    preconditions: Some(Preconditions { uid: job.uid(), resource_version: None }),
                    ..DeleteParams::background()
                };
                let name = job.name_any();
                match limited("deletion of the job", async { jobs(about).delete(&name, &parameters).await.map(drop) })
                    .await
                {
                    Ok(()) => {}
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        }
        .boxed()
    }
}

fn is_over(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|it| it.status == "True" && ["Complete", "Failed"].contains(&it.type_.as_str()))
}
