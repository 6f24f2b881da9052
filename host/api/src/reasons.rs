//! Condition types, condition reasons, phases and event reasons: machine-readable words that others match on.

/// Condition types.
pub mod condition {
    /// The remediator works.
    pub const PROCESSING: &str = "Processing";
    /// Unknown while working, then the outcome.
    pub const SUCCEEDED: &str = "Succeeded";
    /// The node object will vanish for good.
    pub const PERMANENT_NODE_DELETION: &str = "PermanentNodeDeletionExpected";
    /// The object is not acted on.
    pub const DISABLED: &str = "Disabled";
    /// Too many nodes are unhealthy.
    pub const STORM_ACTIVE: &str = "StormActive";
    /// The storm is over but its cooldown runs.
    pub const STORM_COOLDOWN: &str = "StormCooldownActive";
    /// A fence agent ran and succeeded.
    pub const FENCE_AGENT_SUCCEEDED: &str = "FenceAgentActionSucceeded";
    /// The dry run of a fence agent template.
    pub const FENCE_AGENT_VALIDATED: &str = "FenceAgentStatusValidationSucceeded";
    /// A remediator's module is loaded and may be called.
    pub const READY: &str = "Ready";
}

/// Reasons of conditions.
pub mod reason {
    /// `Disabled=False` of a policy.
    pub const ENABLED: &str = "NodeHealthCheckEnabled";
    /// The template, its kind or its namespace does not exist.
    pub const TEMPLATE_NOT_FOUND: &str = "RemediationTemplateNotFound";
    /// The template exists but cannot be used.
    pub const TEMPLATE_INVALID: &str = "RemediationTemplateInvalid";
    /// An OpenShift machine health check is in charge.
    pub const CONFLICTING_MHC: &str = "ConflictingMachineHealthCheckDetected";
    /// The control plane is of a kind that looks after itself.
    pub const UNSUPPORTED_TOPOLOGY: &str = "UnsupportedControlPlaneTopology";
    /// The template, or its remediations, exist but may not be read.
    pub const TEMPLATE_UNREADABLE: &str = "RemediationTemplateUnreadable";
    /// The specification of a policy contradicts itself.
    pub const SPEC_INVALID: &str = "SpecInvalid";
    /// Storm conditions.
    pub const THRESHOLD_CHANGE: &str = "HealthyNodeThresholdChange";
    /// A remediation works.
    pub const STARTED: &str = "RemediationStarted";
    /// A remediation is done.
    pub const FINISHED: &str = "RemediationFinishedSuccessfully";
    /// The detector gave up on a remediation.
    pub const TIMED_OUT: &str = "RemediationTimeoutByNHC";
    /// The target of a remediation does not exist.
    pub const NODE_NOT_FOUND: &str = "RemediationSkippedNodeNotFound";
    /// A remediation failed.
    pub const FAILED: &str = "RemediationFailed";
    /// The configuration of self node remediation is missing.
    pub const CONFIG_NOT_FOUND: &str = "ConfigurationNotFound";
}

/// Reasons of events.
pub mod event {
    /// A policy became active.
    pub const ENABLED: &str = "Enabled";
    /// A policy is not acted on.
    pub const DISABLED: &str = "Disabled";
    /// A node matches an unhealthy condition.
    pub const DETECTED_UNHEALTHY: &str = "DetectedUnhealthy";
    /// A remediation was created.
    pub const CREATED: &str = "RemediationCreated";
    /// A remediation was deleted.
    pub const REMOVED: &str = "RemediationRemoved";
    /// Nothing is done for a node or a policy, and the message says why.
    pub const SKIPPED: &str = "RemediationSkipped";
    /// Every template was tried.
    pub const NO_TEMPLATE_LEFT: &str = "NoTemplateLeft";
    /// The exclude label has an empty value.
    pub const INVALID_NODE_LABEL: &str = "InvalidNodeLabel";
    /// An annotation of a Node or a policy cannot be understood.
    pub const INVALID_ANNOTATION: &str = "InvalidAnnotation";
    /// The time of a veto is over.
    pub const VETO_EXPIRED: &str = "VetoExpired";
    /// A node was remediated too often; a person has to look at it.
    pub const QUARANTINED: &str = "NodeQuarantined";
    /// What would be done without `dryRun`.
    pub const DRY_RUN: &str = "DryRun";
    /// A storm began.
    pub const STORM_STARTED: &str = "StormRecoveryStarted";
    /// The cooldown after a storm began.
    pub const STORM_COOLDOWN: &str = "StormRecoveryCooldownStarted";
    /// The cooldown after a storm is over.
    pub const STORM_ENDED: &str = "StormRecoveryEnded";
    /// A remediation ran out of its time.
    pub const TIMED_OUT: &str = "RemediationTimedOut";
    /// Something failed; the message names object, field and remedy.
    pub const FAILED: &str = "RemediationFailed";
    /// A remediator began.
    pub const STARTED: &str = "RemediationStarted";
    /// A remediator stopped.
    pub const STOPPED: &str = "RemediationStopped";
    /// A remediator is done.
    pub const FINISHED: &str = "RemediationFinished";
    /// A configuration cannot be rolled out.
    pub const INVALID_CONFIG: &str = "InvalidConfiguration";
    /// A longer time limit than the configured one is used.
    pub const PEER_TIMEOUT_ADJUSTED: &str = "PeerTimeoutAdjusted";
    /// The configured floor of the wait is below what the protocol demands.
    pub const SAFE_TIME_TOO_SHORT: &str = "SafeTimeTooShort";
    /// The agent of a node acknowledged that it ends this boot.
    pub const NODE_REBOOT: &str = "NodeReboot";
    /// The target node cannot be fetched.
    pub const CANNOT_START: &str = "RemediationCannotStart";
}

/// Condition types of a policy that only the optional rules have, and their reasons.
pub mod extension {
    /// Nodes fail together, and those that this explains are left alone.
    pub const CORRELATED: &str = "CorrelatedFailure";
    /// [`CORRELATED`]: most nodes are silent.
    pub const OBSERVER: &str = "ObserverFailure";
    /// [`CORRELATED`]: most of the control plane is not ready.
    pub const CONTROL_PLANE: &str = "ControlPlaneFailure";
    /// [`CORRELATED`]: a zone or another group.
    pub const GROUP: &str = "GroupFailure";
    /// [`CORRELATED`]: none.
    pub const INDEPENDENT: &str = "IndependentFailures";
    /// Nodes were remediated too often.
    pub const NODES_QUARANTINED: &str = "NodesQuarantined";
    /// [`NODES_QUARANTINED`].
    pub const ATTEMPTS: &str = "AttemptsCounted";
    /// The policy carries a veto.
    pub const VETOED: &str = "Vetoed";
    /// [`VETOED`]: it is in force.
    pub const VETOED_BY_PERSON: &str = "VetoInForce";
    /// [`VETOED`]: its time is over.
    pub const VETO_OVER: &str = "VetoExpired";
    /// [`VETOED`]: it cannot be understood, and is in force.
    pub const VETO_MALFORMED: &str = "VetoMalformed";
    /// Nothing is touched.
    pub const DRY_RUN: &str = "DryRun";
    /// [`DRY_RUN`].
    pub const DRY_RUN_SET: &str = "DryRunSet";
    /// All of these types.
    pub const ALL: [&str; 4] = [CORRELATED, NODES_QUARANTINED, VETOED, DRY_RUN];
}

/// Values of `status.phase`.
pub mod phase {
    /// A policy is not acted on.
    pub const DISABLED: &str = "Disabled";
    /// A policy is paused.
    pub const PAUSED: &str = "Paused";
    /// A policy has running remediations.
    pub const REMEDIATING: &str = "Remediating";
    /// A policy watches.
    pub const ENABLED: &str = "Enabled";
    /// Self node remediation: marked, waiting for the proof.
    pub const PRE_REBOOT_COMPLETED: &str = "Pre-Reboot-Completed";
    /// Self node remediation: proven.
    pub const REBOOT_COMPLETED: &str = "Reboot-Completed";
    /// Self node remediation: released.
    pub const FENCING_COMPLETED: &str = "Fencing-Completed";
}
