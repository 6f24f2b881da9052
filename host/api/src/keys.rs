//! Names on the wire: labels, annotations, taints, finalizers, well-known object names.
//!
//! Everything here is a contract with other programs; nothing may be renamed.

/// Keys of the remediation contract that every detector and remediator shares.
pub mod remediation {
    /// Annotation on a remediation: its target node.
    pub const NODE_NAME: &str = "remediation.medik8s.io/node-name";
    /// Annotation on a remediation: the template it was made from.
    pub const TEMPLATE_NAME: &str = "remediation.medik8s.io/template-name";
    /// Annotation on a remediation: the detector gave up waiting (RFC 3339); its presence alone matters.
    pub const TIMED_OUT: &str = "remediation.medik8s.io/nhc-timed-out";
    /// Annotation on a remediation: when the healthy delay began (RFC 3339).
    pub const HEALTHY_DELAY: &str = "remediation.medik8s.io/healthy-delay";
    /// Annotation on a template: the remediator reads [`NODE_NAME`], so several templates of one kind may be used.
    pub const MULTIPLE_TEMPLATES: &str = "remediation.medik8s.io/multiple-templates-support";
    /// Annotation on a node: a person confirmed that it is healthy; ends a healthy delay.
    pub const CONFIRMED_HEALTHY: &str = "remediation.medik8s.io/manually-confirmed-healthy";
    /// Annotation on a remediation that is older than 48 hours and was counted.
    pub const OLD_FLAG: &str = "nodehealthcheck.medik8s.io/old-remediation-cr-flag";
    /// Value of [`OLD_FLAG`].
    pub const OLD_FLAG_VALUE: &str = "flagon";
    /// Label on a node: `true` keeps every remediator away from it.
    pub const EXCLUDE: &str = "remediation.medik8s.io/exclude-from-remediation";
    /// Label on a remediation of a control-plane node; empty value.
    pub const CONTROL_PLANE: &str = "remediation.medik8s.io/isControlPlaneNode";
    /// Label on a template that a remediator ships.
    pub const DEFAULT_TEMPLATE: &str = "remediation.medik8s.io/default-template";
    /// Label on a remediation: who made it.
    pub const PART_OF: &str = "app.kubernetes.io/part-of";
    /// Value of [`PART_OF`].
    pub const PART_OF_VALUE: &str = "node-healthcheck-controller";
    /// Suffix that turns a remediation kind into the kind of its template.
    pub const TEMPLATE_SUFFIX: &str = "Template";
    /// Prefix of every event message.
    pub const EVENT_PREFIX: &str = "[remediation] ";
    /// Label of cluster roles whose rules the detector's role aggregates.
    pub const AGGREGATE_ROLE: &str = "rbac.ext-remediation/aggregate-to-ext-remediation";
}

/// Keys of self node remediation.
pub mod self_node {
    /// API group.
    pub const GROUP: &str = "self-node-remediation.medik8s.io";
    /// Finalizer on a remediation.
    pub const FINALIZER: &str = "self-node-remediation.medik8s.io/snr-finalizer";
    /// Own taint on the node; no value, `NoSchedule`.
    pub const TAINT: &str = "remediation.medik8s.io/self-node-remediation";
    /// Older own taint that upgraded clusters may still carry.
    pub const LEGACY_TAINT: &str = "medik8s.io/remediation";
    /// Value of [`LEGACY_TAINT`].
    pub const LEGACY_TAINT_VALUE: &str = "self-node-remediation";
    /// Annotation on a node: whether its agent can reboot it, `true` or `false`.
    pub const REBOOT_CAPABLE: &str = "is-reboot-capable.self-node-remediation.medik8s.io";
    /// Annotation on a node: timeout of its watchdog in whole seconds, rounded up.
    pub const WATCHDOG_TIMEOUT: &str = "self-node-remediation.medik8s.io/watchdog-timeout";
    /// Secret with the key pair that all agents of the stock product share.
    pub const CERTIFICATES: &str = "self-node-remediation-certificates";
    /// The one configuration object that counts.
    pub const CONFIG_NAME: &str = "self-node-remediation-config";
    /// The template that comes with the installation.
    pub const DEFAULT_TEMPLATE_NAME: &str = "self-node-remediation-automatic-strategy-template";
}

/// Keys of Kubernetes itself and of cluster operators.
pub mod cluster {
    /// Taint that makes the cluster release a dead node's pods and volumes.
    pub const OUT_OF_SERVICE_TAINT: &str = "node.kubernetes.io/out-of-service";
    /// Value of [`OUT_OF_SERVICE_TAINT`].
    pub const OUT_OF_SERVICE_VALUE: &str = "nodeshutdown";
    /// Label of control-plane nodes.
    pub const CONTROL_PLANE_ROLE: &str = "node-role.kubernetes.io/control-plane";
    /// Older label of control-plane nodes.
    pub const MASTER_ROLE: &str = "node-role.kubernetes.io/master";
    /// Label of nodes with a member of etcd, set by k3s and RKE2.
    pub const ETCD_ROLE: &str = "node-role.kubernetes.io/etcd";
    /// Label of worker nodes.
    pub const WORKER_ROLE: &str = "node-role.kubernetes.io/worker";
    /// Label with the zone of a node.
    pub const ZONE: &str = "topology.kubernetes.io/zone";
    /// Annotation on a node: `namespace/name` of its OpenShift Machine.
    pub const MACHINE: &str = "machine.openshift.io/machine";
    /// Annotation on a node: name of its Cluster API Machine.
    pub const CAPI_MACHINE: &str = "cluster.x-k8s.io/machine";
    /// Annotation on a node: namespace of its Cluster API Machine.
    pub const CAPI_NAMESPACE: &str = "cluster.x-k8s.io/cluster-namespace";
    /// Annotation on a node: the configuration that OpenShift's machine config operator gave it.
    pub const CURRENT_CONFIG: &str = "machineconfiguration.openshift.io/currentConfig";
    /// Annotation on a node: the configuration that it is to get.
    pub const DESIRED_CONFIG: &str = "machineconfiguration.openshift.io/desiredConfig";
}

/// Keys of machine deletion.
pub mod machine_deletion {
    /// API group.
    pub const GROUP: &str = "machine-deletion-remediation.medik8s.io";
    /// Annotation on a remediation: `namespace/name` of the machine that is being deleted.
    pub const MACHINE: &str = "machine-deletion-remediation.medik8s.io/machineNameNamespace";
    /// Annotation on a remediation: `Kind/name` of the machine's owner.
    pub const MACHINE_OWNER: &str = "machine-deletion-remediation.medik8s.io/machineOwner";
}

/// Keys of fence agents.
pub mod fence_agents {
    /// API group.
    pub const GROUP: &str = "fence-agents-remediation.medik8s.io";
    /// Finalizer on a remediation.
    pub const FINALIZER: &str = "fence-agents-remediation.medik8s.io/far-finalizer";
    /// Name of the shared Secret that older installations rely on.
    pub const DEFAULT_SHARED_SECRET: &str = "fence-agents-credentials-shared";
}

/// Keys of scripts run by the user.
pub mod customized_user {
    /// API group.
    pub const GROUP: &str = "customized-user-remediation.medik8s.io";
}

/// Answers of people: annotations on a remediation, in the form `by=USER; code=CODE; why=REASON`. `code` is that
/// of the question, `by` is who writes it: an admission policy sees to that.
pub mod approval {
    /// Approves the action.
    pub const APPROVE: &str = "approval.palisade.dev/approve";
    /// Confirms that the node is isolated.
    pub const CONFIRM: &str = "approval.palisade.dev/confirm-isolated";
    /// Says no to whatever is asked.
    pub const DENY: &str = "approval.palisade.dev/deny";
    /// Confirms in an emergency, for everybody who would have to.
    pub const BREAK_GLASS: &str = "approval.palisade.dev/break-glass";
    /// Who asked for a remediation by hand, set when it is made: this user may not answer its questions.
    pub const REQUESTED_BY: &str = "approval.palisade.dev/requested-by";
    /// Name of the admission policy without which no answer counts, and of its binding.
    pub const POLICY: &str = "approvals.palisade.dev";
}

/// Keys of the detector.
pub mod node_health_check {
    /// API group.
    pub const GROUP: &str = "remediation.medik8s.io";
    /// Namespace of the node leases shared with other actors, unless `LEASE_NAMESPACE` says otherwise.
    pub const LEASE_NAMESPACE: &str = "medik8s-leases";
    /// Prefix of the lease holder's identity, followed by the policy's name.
    pub const HOLDER_PREFIX: &str = "NodeHealthCheck-";
}

/// Keys of Palisade itself.
pub mod palisade {
    /// API group.
    pub const GROUP: &str = "palisade.dev";
    /// Namespace of controller and agents.
    pub const NAMESPACE: &str = "palisade-system";
    /// Own taint with effect `NoExecute`, set at the release.
    pub const RELEASE_TAINT: &str = "palisade.dev/released";
    /// Finalizer on a [`crate::WasmRemediation`].
    pub const FINALIZER: &str = "palisade.dev/remediation";
    /// Annotation on a remediation: UID of its target, so that another node of the same name is told apart.
    pub const NODE_UID: &str = "palisade.dev/node-uid";
    /// Annotation on a Node or a policy: nothing is started for it, by whose wish, why and until when, in the form
    /// `owner=WHO; until=TIME; reason=WHY`.
    pub const VETO: &str = "palisade.dev/veto";
    /// Annotation on a Node: attempts to remediate it up to this time (RFC 3339) do not count any more.
    pub const ATTEMPTS_FORGIVEN: &str = "palisade.dev/attempts-forgiven";
    /// Annotation on a remediation that was made for an exercise: by whom and why.
    pub const DRILL: &str = "palisade.dev/drill";
    /// Label on an agent lease that the controller made for a node without agent.
    pub const BARE_LEASE: &str = "palisade.dev/no-agent";
    /// Name of the ConfigMap, in the controller's namespace, in which a controller that only watches says what it would do: by
    /// the name of each policy, the status that it would have, as JSON.
    pub const WATCH_ONLY: &str = "palisade-watch-only";
    /// Category of every remediation kind: `kubectl get remediations`.
    pub const CATEGORY: &str = "remediations";
}
