//! A machine behind a fence agent: what is needed for a run is looked up for that run, and forgotten after it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;
use palisade_api::fence_agents_remediation::FenceAgentsRemediationSpec;
use tokio::sync::Semaphore;

use super::catalogue::Catalogue;
use super::fault::{Fault, Goal, Reading};
use super::hidden::{Hidden, Redactor};
use super::metadata::Metadata;
use super::parameters::{self, Action, Parameters, SecretData, Sources};
use super::process::{self, Ended, Run, RunError};
use super::verdict;

/// So many agents run at the same time. Each is an interpreter of some 30 MB.
const PARALLEL: usize = 8;
/// An agent describes itself in a second.
const DESCRIBE: Duration = Duration::from_secs(20);
/// Bounds of `spec.timeout`.
const LIMITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(30));
/// A read of a Secret that takes longer is tried again.
const LOOK_UP: Duration = Duration::from_secs(10);

/// Time of the last change and size of an agent's file, and what the agent said about itself then.
type Described = (SystemTime, u64, Option<Metadata>);

/// Runs fence agents: which ones there are, and how many at a time.
#[derive(Debug)]
pub struct Agents {
    catalogue: Catalogue,
    permits: Semaphore,
    /// What agents said about themselves, as long as their files stay as they are.
    described: Mutex<HashMap<PathBuf, Described>>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    /// The node.
    pub node: String,
    /// Namespace of the Secrets.
    pub namespace: String,
    /// What the remediation says.
    pub spec: FenceAgentsRemediationSpec,
    /// Names the runs: nothing of an earlier run of the same remediation is alive when a new one begins.
    pub mark: String,
}

impl Machine {
    fn limit(&self) -> Result<Duration, Fault> {
        let limit = self.spec.timeout.to_std();
        if limit < LIMITS.0 || limit > LIMITS.1 {
            return Err(Fault::Invalid(format!("spec.timeout is {}; use 1s to 30m", self.spec.timeout)));
        }
        Ok(limit)
    }
}

impl Agents {
    /// Over the agents of a catalogue.
    pub fn new(catalogue: Catalogue) -> Self {
        Self { catalogue, permits: Semaphore::new(PARALLEL), described: Mutex::default() }
    }

    /// What the device says about the machine.
    pub async fn read(&self, client: &Client, machine: &Machine) -> Result<Reading, Fault> {
        let limit = machine.limit()?;
        self.read_within(client, machine, limit).await
    }

    /// The same with another limit.
    pub async fn read_within(&self, client: &Client, machine: &Machine, limit: Duration) -> Result<Reading, Fault> {
        let (ended, subject, redactor) = self.run(client, machine, "status", limit).await?;
        verdict::reading(&ended, &subject, &redactor)
    }

    /// Switches the machine.
    pub async fn switch(&self, client: &Client, machine: &Machine, goal: Goal) -> Result<(), Fault> {
        let action = match goal {
            Goal::Off => "off",
            Goal::On => "on",
        };
        let (ended, subject, redactor) = self.run(client, machine, action, machine.limit()?).await?;
        verdict::switched(&ended, &subject, &redactor)
    }

    /// Whether agent, parameters and Secrets are there and make sense. The device is not asked.
    pub async fn check(&self, client: &Client, machine: &Machine) -> Result<(), Fault> {
        machine.limit()?;
        let program = self.catalogue.find(&machine.spec.agent)?;
        let metadata = self.describe(&program).await?;
        resolve(client, machine, metadata.as_ref()).await.map(drop)
    }

    /// Ends whatever still runs for a remediation.
    pub async fn sweep(mark: &str) -> Result<(), RunError> {
        process::sweep(mark).await
    }

    async fn run(
        &self,
        client: &Client,
        machine: &Machine,
        action: &str,
        limit: Duration,
    ) -> Result<(Ended, String, Redactor), Fault> {
        let program = self.catalogue.find(&machine.spec.agent)?;
        let metadata = self.describe(&program).await?;
        let parameters = resolve(client, machine, metadata.as_ref()).await?;
        let subject = format!("{} {action} of node {}", machine.spec.agent, machine.node);
        // The queue for a permit is no part of the limit.
        let _permit = self.permits.acquire().await.map_err(|_| Fault::Failed("the controller stops".to_owned()))?;
        let run = Run { program: &program, input: parameters.input(action), limit, mark: &machine.mark };
        let ended = process::run(run).await.map_err(|error| Fault::Failed(error.to_string()))?;
        Ok((ended, subject, parameters.redactor()))
    }

    /// What the agent says about its parameters; `None` if it says nothing that can be read.
    async fn describe(&self, program: &Path) -> Result<Option<Metadata>, Fault> {
        let file = program.metadata().map_err(|error| Fault::Failed(format!("{}: {error}", program.display())))?;
        let version = (file.modified().unwrap_or(SystemTime::UNIX_EPOCH), file.len());
        let known = self.described.lock().unwrap_or_else(PoisonError::into_inner).get(program).cloned();
        if let Some((modified, length, metadata)) = known
            && (modified, length) == version
        {
            return Ok(metadata);
        }
        let _permit = self.permits.acquire().await.map_err(|_| Fault::Failed("the controller stops".to_owned()))?;
        // Two descriptions of one agent at the same time must not end each other.
        let mark = format!("describe-{}", uuid::Uuid::new_v4());
        let run = Run { program, input: Hidden::new("action=metadata\n"), limit: DESCRIBE, mark: &mark };
        let ended = process::run(run).await.map_err(|error| Fault::Failed(error.to_string()))?;
        if ended.end == process::End::TimedOut {
            return Err(Fault::TimedOut(format!("{} did not describe itself within {DESCRIBE:?}", program.display())));
        }
        let metadata = Metadata::parse(&ended.stdout);
        if metadata.is_none() {
            tracing::info!(agent = %program.display(), "the agent does not describe its parameters; they are passed as they are");
        }
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        described.insert(program.to_owned(), (version.0, version.1, metadata.clone()));
        Ok(metadata)
    }
}

/// What is wanted of the machine, as far as the specification alone tells. A Secret cannot say it.
pub fn wanted_action(spec: &FenceAgentsRemediationSpec) -> Action {
    let off = spec.shared_parameters.iter().any(|(name, value)| parameters::is_action(name) && value == "off");
    if off { Action::Off } else { Action::Reboot }
}

async fn resolve(client: &Client, machine: &Machine, metadata: Option<&Metadata>) -> Result<Parameters, Fault> {
    let spec = &machine.spec;
    let own = spec.node_secret_names.get(&machine.node);
    if own.is_none() && !spec.node_secret_names.is_empty() && spec.shared_secret_name.is_none() {
        return Err(Fault::Invalid(format!(
            "spec.nodeSecretNames has no entry for node {}; add one, or a spec.sharedSecretName",
            machine.node
        )));
    }
    let node_secret = match own {
        Some(name) => Some(secret(client, &machine.namespace, name, "spec.nodeSecretNames").await?),
        None => None,
    };
    let shared_secret = match &spec.shared_secret_name {
        Some(name) => Some(secret(client, &machine.namespace, name, "spec.sharedSecretName").await?),
        None => None,
    };
    let sources = Sources {
        node: &machine.node,
        shared: &spec.shared_parameters,
        per_node: &spec.node_parameters,
        shared_secret: shared_secret.as_ref(),
        node_secret: node_secret.as_ref(),
    };
    parameters::build(&sources, metadata)
}

async fn secret(client: &Client, namespace: &str, name: &str, field: &str) -> Result<SecretData, Fault> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let whole = format!("Secret {namespace}/{name} ({field})");
    match tokio::time::timeout(LOOK_UP, api.get_opt(name)).await {
        Ok(Ok(Some(secret))) => {
            Ok(secret.data.unwrap_or_default().into_iter().map(|(key, value)| (key, value.0)).collect())
        }
        Ok(Ok(None)) => Err(Fault::Missing(format!("{whole} does not exist; create it, it is waited for"))),
        Ok(Err(error)) => Err(Fault::Missing(format!("{whole} cannot be read: {error}; it is tried again"))),
        Err(_) => Err(Fault::Missing(format!("{whole} cannot be read now; it is tried again"))),
    }
}
