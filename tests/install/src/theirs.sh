# What a running installation of their operators looks like. Given: fixtures, theirs (namespace), node, policy, unhealthy_for.
for operator in "$fixtures"/*/; do
  kubectl apply --server-side -f "$operator"
done
kubectl wait --for condition=Established --timeout 60s crd/nodehealthchecks.remediation.medik8s.io \
  crd/selfnoderemediations.self-node-remediation.medik8s.io crd/selfnoderemediationconfigs.self-node-remediation.medik8s.io
kubectl create namespace "$theirs"
kubectl create namespace medik8s-leases
sed "s/namespace: self-node-remediation/namespace: $theirs/; s/^spec: {}/spec: { safeTimeToAssumeNodeRebootedSeconds: 1 }/" \
  "$fixtures"/self-node-remediation/samples/*_selfnoderemediationconfig.yaml | kubectl apply -f -
sed "s/selfnoderemediationtemplate-sample/self-node-remediation-automatic-strategy-template/" \
  "$fixtures"/self-node-remediation/samples/*_selfnoderemediationtemplate.yaml | kubectl --namespace "$theirs" apply -f -
sed "s/duration: 300s/duration: $unhealthy_for/" \
  "$fixtures"/node-healthcheck-operator/samples/*_nodehealthcheck.yaml | kubectl apply -f -
kubectl --namespace "$theirs" apply -f - < "$(echo "$fixtures"/self-node-remediation/samples/*_selfnoderemediation.yaml)"
uid=$(kubectl get nodehealthcheck "$policy" --output jsonpath='{.metadata.uid}')
kubectl apply -f - <<END
apiVersion: self-node-remediation.medik8s.io/v1alpha1
kind: SelfNodeRemediation
metadata:
  name: running
  namespace: $theirs
  annotations: { remediation.medik8s.io/node-name: $node, remediation.medik8s.io/template-name: self-node-remediation-automatic-strategy-template }
  labels: { app.kubernetes.io/part-of: node-healthcheck-controller }
  ownerReferences: [{ apiVersion: remediation.medik8s.io/v1alpha1, kind: NodeHealthCheck, name: $policy, uid: $uid }]
spec: { remediationStrategy: Automatic }
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: { name: node-$node, namespace: medik8s-leases }
spec: { holderIdentity: NodeHealthCheck-$policy, leaseDurationSeconds: 660, renewTime: "$(date -u +%Y-%m-%dT%H:%M:%S.000000Z)" }
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: { name: e1f13584.medik8s.io, namespace: $theirs }
spec: { holderIdentity: node-healthcheck-controller-manager-0_1, leaseDurationSeconds: 20, renewTime: "$(date -u +%Y-%m-%dT%H:%M:%S.000000Z)" }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: { name: node-healthcheck-operator-aggregation }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: node-healthcheck-operator-aggregation }
subjects: [{ kind: ServiceAccount, name: node-healthcheck-controller-manager, namespace: $theirs }]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: { name: self-node-remediation-validating-webhook-configuration }
webhooks:
  - name: vselfnoderemediationconfig.kb.io
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Fail
    clientConfig:
      service: { namespace: $theirs, name: self-node-remediation-webhook-service, path: /validate-self-node-remediation-medik8s-io-v1alpha1-selfnoderemediationconfig }
    rules:
      - { apiGroups: [self-node-remediation.medik8s.io], apiVersions: [v1alpha1], operations: [CREATE, UPDATE, DELETE], resources: [selfnoderemediationconfigs] }
---
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: self-node-remediation-ds, namespace: $theirs }
spec:
  selector: { matchLabels: { app.kubernetes.io/name: self-node-remediation, app.kubernetes.io/component: agent } }
  template:
    metadata: { labels: { app.kubernetes.io/name: self-node-remediation, app.kubernetes.io/component: agent } }
    spec:
      # Nowhere: the nodes of the test have agents of ours only.
      nodeSelector: { nowhere: "true" }
      containers: [{ name: manager, image: registry.example/theirs }]
END
for operator in node-healthcheck self-node-remediation; do
  kubectl --namespace "$theirs" create deployment "$operator-controller-manager" --image registry.example/theirs
done
status() { kubectl --namespace "$theirs" patch selfnoderemediation "$1" --subresource status --type merge --patch "$2"; }
status running '{"status":{"phase":"Pre-Reboot-Completed","conditions":[{"type":"Processing","status":"True","reason":"RemediationStarted","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}'
status selfnoderemediation-sample '{"status":{"phase":"Fencing-Completed"}}'
for one in running selfnoderemediation-sample; do
  kubectl --namespace "$theirs" patch selfnoderemediation "$one" --type merge \
    --patch '{"metadata":{"finalizers":["self-node-remediation.medik8s.io/snr-finalizer"]}}'
done
kubectl taint node "$node" remediation.medik8s.io/self-node-remediation:NoSchedule
