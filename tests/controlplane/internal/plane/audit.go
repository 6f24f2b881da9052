package plane

const auditPolicyFile = "audit-policy.yaml"

// auditPolicy logs every request once it is answered, and what was written to
// the objects remediation is about. Audit rules know no wildcard in a group's
// name, so each group is spelled out.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
# The identity leases of the components themselves are noise.
- level: None
  users: ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler"]
  resources: [{group: coordination.k8s.io, resources: [leases]}]
# Our own probes until everything is ready.
- level: None
  nonResourceURLs: ["/readyz*", "/livez*", "/healthz*"]
- level: RequestResponse
  verbs: [create, update, patch, delete, deletecollection]
  resources:
  - {group: coordination.k8s.io, resources: [leases]}
  - {group: "", resources: [nodes, nodes/*, pods, pods/*]}
  - {group: palisade.dev}
  - {group: remediation.medik8s.io}
  - {group: self-node-remediation.medik8s.io}
  - {group: fence-agents-remediation.medik8s.io}
  - {group: machine-deletion-remediation.medik8s.io}
  - {group: customized-user-remediation.medik8s.io}
  - {group: storage-based-remediation.medik8s.io}
  - {group: nodemaintenance.medik8s.io}
- level: Metadata
`
