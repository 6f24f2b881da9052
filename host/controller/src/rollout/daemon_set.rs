//! The DaemonSet of the agents, built from typed values: nothing a user writes into the configuration can become
//! anything but the value it stands for. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy, RollingUpdateDaemonSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    Affinity, Container, ContainerPort, EnvVar, EnvVarSource, HostPathVolumeSource, NodeAffinity, NodeSelector,
    NodeSelectorRequirement, NodeSelectorTerm, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec,
    ResourceRequirements, SecretVolumeSource, SecurityContext, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use palisade_api::keys::{cluster, palisade, remediation, self_node};
use palisade_api::self_node_remediation_config::{ControlPlanePolicy, SelfNodeRemediationConfigSpec};
use palisade_api::{GoDuration, SelfNodeRemediationConfig};
use palisade_core::fencing::record::LeaseView;
use palisade_core::fencing::timing::{self, Tuning};

/// Its name, as upgraded clusters know it.
pub const NAME: &str = "self-node-remediation-ds";
/// Service account of the agents: not the controller's.
pub const ACCOUNT: &str = "palisade-agent";
/// If the live object has another value, it is made anew instead of changed: for changes that an update cannot make.
pub const FORCE_DELETION: &str = "snr.medik8s.io/force-deletion-revision";
/// The revision of [`FORCE_DELETION`].
pub const REVISION: &str = "1";
/// Argument by which an agent knows, and publishes, which generation of the configuration it runs with.
const GENERATION: &str = "--config-generation=";

/// Where agents find the key pair with which they answer agents of the stock product.
const STOCK_CERTIFICATES: &str = "/etc/palisade/stock";

/// What the DaemonSet is made of.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The configuration.
    pub config: &'a SelfNodeRemediationConfig,
    /// Image of the agents.
    pub image: &'a str,
    /// Where they run.
    pub namespace: &'a str,
    /// How fast they are replaced.
    pub pace: Pace,
}

/// How fast agents are replaced. A juror that started lately cannot vouch for anybody, so of the agents only a tenth is
/// replaced at a time, and each counts as replaced only when it is old enough to speak again: a control-plane outage in
/// the middle of a rollout finds majorities everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Seconds until a new agent counts as available.
    pub settle_seconds: i32,
}

impl Pace {
    /// From the configuration and from what the running agents published.
    pub fn of<L: std::ops::Deref<Target = Lease>>(spec: &SelfNodeRemediationConfigSpec, leases: &[L]) -> Self {
        let published = leases.iter().filter_map(|lease| {
            LeaseView::from_annotations(lease.annotations()).ok()?.record.map(|record| record.terms.life_bound())
        });
        let unknown = timing::life_bound(tuning(spec).time_to_live(), 2 * UNKNOWN_WATCHDOG);
        let seconds = published.filter(|bound| *bound < MOST).fold(unknown, Duration::max).as_secs();
        // In whole half minutes: a number that moves with every lease would be a change for everybody who watches.
        let rounded = seconds.div_ceil(30) * 30;
        Self { settle_seconds: i32::try_from(rounded).unwrap_or(i32::MAX) }
    }
}

/// A watchdog that nobody has asked yet is taken for one of this timeout.
const UNKNOWN_WATCHDOG: Duration = Duration::from_mins(1);
/// Bounds beyond this belong to agents that fence nothing; waiting for them would stop every rollout.
const MOST: Duration = Duration::from_mins(30);

/// The timings of a configuration.
pub fn tuning(spec: &SelfNodeRemediationConfigSpec) -> Tuning {
    Tuning {
        api_check_interval: spec.api_check_interval.to_std(),
        api_server_timeout: spec.api_server_timeout.to_std(),
        max_api_error_threshold: u32::try_from(spec.max_api_error_threshold).unwrap_or(u32::MAX),
        peer_dial_timeout: spec.peer_dial_timeout.to_std(),
        peer_request_timeout: spec.peer_request_timeout.to_std(),
    }
}

/// The generation of the configuration that a DaemonSet gives to its agents.
pub fn generation(set: &DaemonSet) -> Option<i64> {
    let container = set.spec.as_ref()?.template.spec.as_ref()?.containers.first()?;
    container.args.as_ref()?.iter().find_map(|arg| arg.strip_prefix(GENERATION))?.parse().ok()
}

/// The DaemonSet whose agents are told this generation.
pub fn render(wanted: &Wanted<'_>, generation: i64) -> DaemonSet {
    let labels = labels();
    DaemonSet {
        metadata: ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(wanted.namespace.to_owned()),
            labels: Some(map(&[("k8s-app", "self-node-remediation")])),
            annotations: Some(map(&[(FORCE_DELETION, REVISION)])),
            owner_references: wanted.config.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(DaemonSetSpec {
            selector: LabelSelector { match_labels: Some(labels.clone()), ..LabelSelector::default() },
            min_ready_seconds: Some(wanted.pace.settle_seconds),
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDaemonSet {
                    max_unavailable: Some(IntOrString::String("10%".to_owned())),
                    max_surge: None,
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta { labels: Some(labels), ..ObjectMeta::default() }),
                spec: Some(pod(wanted, generation)),
            },
            ..DaemonSetSpec::default()
        }),
        status: None,
    }
}

fn labels() -> BTreeMap<String, String> {
    map(&[("app.kubernetes.io/name", "self-node-remediation"), ("app.kubernetes.io/component", "agent")])
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn pod(wanted: &Wanted<'_>, generation: i64) -> PodSpec {
    let spec = &wanted.config.spec;
    let folder = |name: &str, path: &str, kind: &str| Volume {
        name: name.to_owned(),
        host_path: Some(HostPathVolumeSource { path: path.to_owned(), type_: Some(kind.to_owned()) }),
        ..Volume::default()
    };
    PodSpec {
        service_account_name: Some(ACCOUNT.to_owned()),
        priority_class_name: Some("system-node-critical".to_owned()),
        affinity: Some(affinity(spec)),
        tolerations: Some(tolerations(spec)),
        // To write the host's sysrq trigger and to load a module in the host's mount namespace.
        host_pid: Some(true),
        security_context: Some(PodSecurityContext { run_as_user: Some(0), ..PodSecurityContext::default() }),
        termination_grace_period_seconds: Some(10),
        volumes: Some(vec![
            folder("devices", "/dev", "Directory"),
            folder("run", "/run/palisade", "DirectoryOrCreate"),
            Volume {
                name: "stock-certificates".to_owned(),
                secret: Some(SecretVolumeSource {
                    secret_name: Some(self_node::CERTIFICATES.to_owned()),
                    // A cluster that never ran the stock product may have none.
                    optional: Some(true),
                    ..SecretVolumeSource::default()
                }),
                ..Volume::default()
            },
        ]),
        containers: vec![container(spec, wanted.image, generation)],
        ..PodSpec::default()
    }
}

fn container(spec: &SelfNodeRemediationConfigSpec, image: &str, generation: i64) -> Container {
    let mount = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    Container {
        name: "agent".to_owned(),
        image: Some(image.to_owned()),
        // A node must be able to restart its agent while the registry is out of reach: its watchdog runs.
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec!["/palisade-agent".to_owned()]),
        args: Some(vec![format!("{GENERATION}{generation}"), format!("--stock-certificates={STOCK_CERTIFICATES}")]),
        env: Some(environment(spec)),
        ports: Some(vec![ContainerPort {
            name: Some("self-n-r-port".to_owned()),
            container_port: i32::try_from(spec.host_port).unwrap_or_default(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        }]),
        // No limits: an agent that is killed for its memory leaves a watchdog behind that nobody feeds.
        resources: Some(ResourceRequirements {
            requests: Some(
                [("cpu", "20m"), ("memory", "20Mi")].map(|(k, v)| (k.to_owned(), Quantity(v.to_owned()))).into(),
            ),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            privileged: Some(true),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount("devices", "/dev"),
            mount("run", "/run/palisade"),
            VolumeMount { read_only: Some(true), ..mount("stock-certificates", STOCK_CERTIFICATES) },
        ]),
        ..Container::default()
    }
}

/// The names that agents of the replaced product read, with the same encodings: lengths are whole nanoseconds.
fn environment(spec: &SelfNodeRemediationConfigSpec) -> Vec<EnvVar> {
    let value = |name: &str, value: String| EnvVar { name: name.to_owned(), value: Some(value), value_from: None };
    let length = |name: &str, length: &GoDuration| value(name, length.as_nanos().to_string());
    let field = |name: &str, path: &str| EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() }),
            ..EnvVarSource::default()
        }),
    };
    let watchdog = Some(spec.watchdog_file_path.as_str()).filter(|path| !path.is_empty()).unwrap_or("/dev/watchdog");
    let mut environment = vec![
        field("MY_NODE_NAME", "spec.nodeName"),
        field("DEPLOYMENT_NAMESPACE", "metadata.namespace"),
        field("POD_IP", "status.podIP"),
        field("NODE_IP", "status.hostIP"),
        value("WATCHDOG_PATH", watchdog.to_owned()),
        length("API_CHECK_INTERVAL", &spec.api_check_interval),
        length("API_SERVER_TIMEOUT", &spec.api_server_timeout),
        value("MAX_API_ERROR_THRESHOLD", spec.max_api_error_threshold.to_string()),
        length("PEER_API_SERVER_TIMEOUT", &spec.peer_api_server_timeout),
        length("PEER_UPDATE_INTERVAL", &spec.peer_update_interval),
        length("PEER_DIAL_TIMEOUT", &spec.peer_dial_timeout),
        length("PEER_REQUEST_TIMEOUT", &spec.peer_request_timeout),
        value("IS_SOFTWARE_REBOOT_ENABLED", spec.is_software_reboot_enabled.to_string()),
        value("HOST_PORT", spec.host_port.to_string()),
        value("MIN_PEERS_FOR_REMEDIATION", spec.min_peers_for_remediation.to_string()),
        // As the replaced product does where there is no device.
        value("PALISADE_LOAD_SOFTDOG", "true".to_owned()),
        // The environment is what an agent begins with; a running one follows the object itself.
        value("PALISADE_FOLLOW_CONFIG", self_node::CONFIG_NAME.to_owned()),
    ];
    if spec.control_plane_policy == Some(ControlPlanePolicy::Diagnose) {
        environment.push(value("CONTROL_PLANE_POLICY", "Diagnose".to_owned()));
    }
    if let Some(url) = spec.endpoint_health_check_url.as_ref().filter(|url| !url.is_empty()) {
        // Kubernetes expands `$(NAME)` in values; doubled it stands for itself.
        environment.push(value("END_POINT_HEALTH_CHECK_URL", url.replace("$(", "$$(")));
    }
    environment
}

fn affinity(spec: &SelfNodeRemediationConfigSpec) -> Affinity {
    let excluded = NodeSelectorRequirement {
        key: remediation::EXCLUDE.to_owned(),
        operator: "NotIn".to_owned(),
        values: Some(vec!["true".to_owned()]),
    };
    let requirements = [excluded].into_iter().chain(spec.custom_ds_node_selector_requirements.iter().cloned());
    let term = NodeSelectorTerm { match_expressions: Some(requirements.collect()), match_fields: None };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector { node_selector_terms: vec![term] }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// The roles that carry taints, and every taint of our own: an agent that its own remediation drives away leaves the
/// node without what can end it.
fn tolerations(spec: &SelfNodeRemediationConfigSpec) -> Vec<Toleration> {
    let tolerate = |key: &str, effect: &str| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some(effect.to_owned()),
        ..Toleration::default()
    };
    [
        tolerate(self_node::TAINT, "NoSchedule"),
        tolerate(cluster::MASTER_ROLE, "NoSchedule"),
        tolerate(cluster::CONTROL_PLANE_ROLE, "NoSchedule"),
        tolerate(cluster::OUT_OF_SERVICE_TAINT, "NoExecute"),
        tolerate(palisade::RELEASE_TAINT, "NoExecute"),
    ]
    .into_iter()
    .chain(spec.custom_ds_tolerations.iter().cloned())
    .collect()
}
