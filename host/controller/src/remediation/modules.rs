//! Which component serves a remediation, and getting it loaded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::api::Api;
use palisade_api::{RemediationStrategy, Remediator};
use palisade_runtime::{Breaker, BreakerState, Capability, EngineSettings, Granted, Host, HostError, Limits, Module};
use serde_json::Value;

use super::kind::Choice;
use super::schema;
use crate::clock;
use crate::context::Context;

/// Failures in a row that open the breaker of a module, and the pause until it is tried again.
const BREAKER: (u32, Duration) = (5, Duration::from_mins(1));
/// Component of strategy `ResourceDeletion`.
const SELF_NODE: &str = "self-node";
/// Component of strategy `OutOfServiceTaint`.
const OUT_OF_SERVICE: &str = "out-of-service-taint";

/// A module, ready to be called.
#[derive(Debug, Clone)]
pub struct Served {
    /// Name of the Remediator, or of the built-in component.
    pub remediator: String,
    /// The module.
    pub module: Arc<Module>,
    /// What it may do.
    pub granted: Granted,
    /// Limits of a call.
    pub limits: Limits,
    /// Parameters, checked.
    pub parameters: Value,
}

/// Why there is none: names object, field and remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unserved(pub String);

/// A component file as it was read, and what tells that it changed since.
#[derive(Debug)]
struct File {
    modified: SystemTime,
    size: u64,
    bytes: Arc<Vec<u8>>,
}

/// Loaded components, by digest, and the breakers that keep a broken one from being called again and again.
#[derive(Debug)]
pub struct Modules {
    host: Arc<Host>,
    folder: PathBuf,
    files: Mutex<HashMap<PathBuf, File>>,
    loaded: Mutex<HashMap<String, Result<Arc<Module>, String>>>,
    breakers: Mutex<HashMap<String, Breaker>>,
}

impl Modules {
    /// Sets up the engine.
    pub fn new(folder: PathBuf, cache_dir: Option<PathBuf>) -> Result<Self, HostError> {
        let settings = EngineSettings { cache_dir, ..EngineSettings::default() };
        Ok(Self::around(Arc::new(Host::new(&settings)?), folder))
    }

    /// Over an engine that others use too.
    pub fn around(host: Arc<Host>, folder: PathBuf) -> Self {
        Self { host, folder, files: Mutex::default(), loaded: Mutex::default(), breakers: Mutex::default() }
    }

    /// Why the module is not called at the moment, if its breaker is open.
    pub fn broken(&self, digest: &str) -> Option<String> {
        let mut breakers = lock(&self.breakers);
        match breakers.get_mut(digest)?.state(boottime()) {
            BreakerState::Open { reason, retry_in } => {
                Some(format!("{reason}; it is tried again in {}s at the latest", retry_in.as_secs().div_ceil(30) * 30))
            }
            BreakerState::Closed | BreakerState::HalfOpen => None,
        }
    }

    /// Notes how a call ended.
    pub fn called(&self, digest: &str, failure: Option<&str>) {
        let mut breakers = lock(&self.breakers);
        match failure {
            None => {
                if let Some(breaker) = breakers.get_mut(digest) {
                    breaker.succeeded();
                }
            }
            Some(message) => {
                let breaker = breakers.entry(digest.to_owned()).or_insert_with(|| Breaker::new(BREAKER.0, BREAKER.1));
                breaker.failed(boottime(), message);
            }
        }
    }

    fn file(&self, path: &Path) -> Result<Arc<Vec<u8>>, String> {
        let metadata = std::fs::metadata(path).map_err(|error| error.to_string())?;
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let size = metadata.len();
        if let Some(known) = lock(&self.files).get(path)
            && (known.modified, known.size) == (modified, size)
        {
            return Ok(known.bytes.clone());
        }
        let bytes = Arc::new(std::fs::read(path).map_err(|error| error.to_string())?);
        lock(&self.files).insert(path.to_owned(), File { modified, size, bytes: bytes.clone() });
        Ok(bytes)
    }

    async fn load(&self, bytes: Arc<Vec<u8>>) -> Result<Arc<Module>, String> {
        let digest = Host::digest(&bytes);
        if let Some(known) = lock(&self.loaded).get(&digest) {
            return known.clone();
        }
        let host = self.host.clone();
        // Compiling takes a tenth of a second of CPU: not on a thread that others wait for.
        let loaded = crate::blocking::run(move || host.load(&bytes).map_err(|error| error.to_string()))
            .await
            .unwrap_or_else(|| Err("the compiler failed on it".to_owned()));
        lock(&self.loaded).insert(digest, loaded.clone());
        loaded
    }
}

/// Finds and loads what serves a remediation.
pub async fn serve(context: &Context, kind: &str, choice: &Choice) -> Result<Served, Unserved> {
    let remediators = context.remediators.state();
    match choice {
        Choice::Named(name, parameters) => {
            let Some(remediator) = remediators.iter().find(|remediator| remediator.name_any() == *name) else {
                return Err(Unserved(format!(
                    "spec.remediator names {name:?}, but there is no Remediator of that name; create it or correct the name (kubectl get remediators)"
                )));
            };
            by_object(context, remediator, parameters.clone()).await
        }
        Choice::Builtin(name, parameters) => {
            let object = remediators.iter().find(|it| it.spec.serves.iter().any(|serves| serves.kind == kind));
            match object {
                Some(remediator) => by_object(context, remediator, parameters.clone()).await,
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
                Some(remediator) => by_object(context, remediator, Value::Object(serde_json::Map::new())).await,
                None => by_name(context, if word == "OutOfServiceTaint" { OUT_OF_SERVICE } else { SELF_NODE }).await,
            }
        }
    }
}

/// The strategy that is meant: Automatic picks what the cluster supports.
pub fn resolve(strategy: &RemediationStrategy, version: Option<(u32, u32)>) -> Result<&'static str, Unserved> {
    match strategy {
        RemediationStrategy::ResourceDeletion => Ok("ResourceDeletion"),
        RemediationStrategy::OutOfServiceTaint => Ok("OutOfServiceTaint"),
        RemediationStrategy::Unknown(word) if !word.is_empty() => Err(Unserved(format!(
            "spec.remediationStrategy is {word:?}, which is not a strategy; use Automatic, ResourceDeletion or OutOfServiceTaint"
        ))),
        RemediationStrategy::Automatic | RemediationStrategy::Unknown(_) => {
            Ok(if version.is_some_and(|version| version >= (1, 28)) { "OutOfServiceTaint" } else { "ResourceDeletion" })
        }
    }
}

async fn by_name(context: &Context, name: &str) -> Result<Served, Unserved> {
    let path = context.modules.folder.join(format!("{name}.wasm"));
    let unserved = |detail: String| {
        Unserved(format!(
            "the built-in remediator {name} ({}) cannot be used: {detail}; check --remediators of the controller",
            path.display()
        ))
    };
    let bytes = context.modules.file(&path).map_err(&unserved)?;
    let module = context.modules.load(bytes).await.map_err(&unserved)?;
    Ok(Served {
        remediator: name.to_owned(),
        module,
        granted: Granted::all(),
        limits: Limits::default(),
        parameters: Value::Object(serde_json::Map::new()),
    })
}

/// A component as a Remediator object describes it, with parameters that fit it.
async fn by_object(context: &Context, remediator: &Remediator, parameters: Value) -> Result<Served, Unserved> {
    let mut served = load(context, remediator).await?;
    schema::check(&served.module.manifest().parameters, &parameters).map_err(|detail| {
        let name = remediator.name_any();
        Unserved(format!("spec.parameters do not fit remediator {name}: {detail}; correct them in the template"))
    })?;
    served.parameters = parameters;
    Ok(served)
}

/// A component as a Remediator object describes it.
pub async fn load(context: &Context, remediator: &Remediator) -> Result<Served, Unserved> {
    let name = remediator.name_any();
    let unserved =
        |field: &str, detail: String, remedy: &str| Unserved(format!("Remediator {name}, {field}: {detail}; {remedy}"));
    let bytes = source(context, remediator).await?;
    if let Some(wanted) = &remediator.spec.digest {
        let found = Host::digest(&bytes);
        if *wanted != found {
            return Err(unserved(
                "spec.digest",
                format!("it is {wanted}, the component has {found}"),
                "correct the digest or the component",
            ));
        }
    }
    let module =
        context.modules.load(bytes).await.map_err(|detail| unserved("spec.source", detail, "replace the component"))?;
    let listed: Vec<String> = remediator.spec.capabilities.iter().map(ToString::to_string).collect();
    let granted: Granted = listed.iter().filter_map(|name| name.parse::<Capability>().ok()).collect();
    let missing = granted.missing(&module.manifest().capabilities);
    if !missing.is_empty() {
        let names: Vec<&str> = missing.iter().map(|capability| capability.name()).collect();
        return Err(unserved(
            "spec.capabilities",
            format!("the component asks for {}, which is not granted", names.join(", ")),
            "add it to spec.capabilities if you want to grant it, or use another component",
        ));
    }
    let defaults = Limits::default();
    let limits = remediator.spec.limits.clone().unwrap_or_default();
    let positive = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
    let limits = Limits {
        fuel: positive(limits.fuel).unwrap_or(defaults.fuel),
        deadline_millis: positive(limits.deadline_millis).unwrap_or(defaults.deadline_millis),
        memory_bytes: positive(limits.memory_bytes)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(defaults.memory_bytes),
        ..defaults
    };
    let parameters = Value::Object(serde_json::Map::new());
    Ok(Served { remediator: name, module, granted, limits, parameters })
}

async fn source(context: &Context, remediator: &Remediator) -> Result<Arc<Vec<u8>>, Unserved> {
    let name = remediator.name_any();
    let source = &remediator.spec.source;
    let unserved = |field: &str, detail: String, remedy: &str| {
        Unserved(format!("Remediator {name}, spec.source.{field}: {detail}; {remedy}"))
    };
    if let Some(builtin) = &source.builtin {
        if builtin.contains('/') || builtin.contains("..") {
            return Err(unserved("builtin", format!("{builtin:?} is not a name"), "use a plain name"));
        }
        let path = context.modules.folder.join(format!("{builtin}.wasm"));
        return context.modules.file(&path).map_err(|error| {
            unserved(
                "builtin",
                format!("no built-in component {builtin} ({error})"),
                "use self-node or out-of-service-taint",
            )
        });
    }
    if let Some(file) = &source.file {
        return context.modules.file(Path::new(file)).map_err(|error| {
            unserved("file", format!("{file} cannot be read: {error}"), "mount it into the controller's pod")
        });
    }
    if let Some(map) = &source.config_map {
        let api: Api<ConfigMap> = Api::namespaced(context.client.clone(), &map.namespace);
        let whole = format!("{}/{}", map.namespace, map.name);
        let object = api.get_opt(&map.name).await.map_err(|error| {
            unserved("configMap", format!("ConfigMap {whole} cannot be read: {error}"), "it is tried again")
        })?;
        let Some(object) = object else {
            return Err(unserved("configMap", format!("ConfigMap {whole} does not exist"), "create it"));
        };
        return match object.binary_data.and_then(|mut data| data.remove(&map.key)) {
            Some(bytes) => Ok(Arc::new(bytes.0)),
            None => Err(unserved(
                "configMap.key",
                format!("ConfigMap {whole} has no binaryData key {:?}", map.key),
                "add the component under that key",
            )),
        };
    }
    if source.oci.is_some() {
        return Err(unserved(
            "oci",
            "OCI artifacts are not served by this version".to_owned(),
            "use configMap, file or builtin",
        ));
    }
    Err(Unserved(format!("Remediator {name}, spec.source: names no source; set one of builtin, file, configMap")))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // The maps are never left half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn boottime() -> Duration {
    Duration::from_millis(clock::now().0)
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
