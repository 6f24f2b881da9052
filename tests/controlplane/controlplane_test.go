package main_test

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const namespace = "shop"

func TestControlPlane(t *testing.T) {
	r := start(t, nil)
	t.Logf("ready after %.1f s, Kubernetes %s", r.ReadySeconds, r.KubernetesVersion)
	if r.ReadySeconds > 20 {
		t.Logf("slower than the 20 s of an idle machine")
	}
	if !strings.HasPrefix(r.KubernetesVersion, "v1.") {
		t.Errorf("version %q is no release: clients compare it", r.KubernetesVersion)
	}
	admin := r.admin()
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := admin.CoreV1().Namespaces().Create(t.Context(), space, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Run("workloads", func(t *testing.T) { workloads(t, admin) })
	t.Run("admission policy", func(t *testing.T) { admissionPolicy(t, admin) })
	t.Run("RBAC", func(t *testing.T) { denied(t, r) })
	t.Run("client certificate", func(t *testing.T) { clientCertificate(t, r, admin) })
	t.Run("audit", func(t *testing.T) { audit(t, r) })

	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stopping := time.Now()
	if err := r.ended(30 * time.Second); err != nil {
		t.Errorf("SIGTERM: %v", err)
	}
	t.Logf("stopped within %.1f s", time.Since(stopping).Seconds())
}

func template(app string) (*metav1.LabelSelector, corev1.PodTemplateSpec) {
	labels := map[string]string{"app": app}
	return &metav1.LabelSelector{MatchLabels: labels}, corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "app"}}},
	}
}

// workloads sees the controllers and the scheduler at work: pods appear, wait
// for a node, and are bound once there is one.
func workloads(t *testing.T, admin kubernetes.Interface) {
	ctx, replicas := t.Context(), int32(2)
	selector, pod := template("web")
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "web"}, Spec: appsv1.DeploymentSpec{Replicas: &replicas, Selector: selector, Template: pod}}
	if _, err := admin.AppsV1().Deployments(namespace).Create(ctx, deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	selector, pod = template("db")
	set := &appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Spec: appsv1.StatefulSetSpec{
		Replicas: &replicas, Selector: selector, Template: pod, PodManagementPolicy: appsv1.ParallelPodManagement}}
	if _, err := admin.AppsV1().StatefulSets(namespace).Create(ctx, set, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "four pods are pending and unschedulable", func() (bool, string) {
		return fourPods(ctx, admin, func(pod corev1.Pod) bool {
			for _, condition := range pod.Status.Conditions {
				if condition.Reason == corev1.PodReasonUnschedulable {
					return pod.Status.Phase == corev1.PodPending
				}
			}
			return false
		})
	})

	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1"}}
	node, err := admin.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now()}}
	node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("100")}
	node.Status.Capacity = node.Status.Allocatable
	// The node lifecycle controller writes taints at the same time: no conflict,
	// because only the status goes with this request.
	eventually(t, 10*time.Second, "the node reports ready", func() (bool, string) {
		node.ResourceVersion = ""
		_, err := admin.CoreV1().Nodes().UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err == nil, fmt.Sprint(err)
	})
	eventually(t, 30*time.Second, "four pods are bound", func() (bool, string) {
		return fourPods(ctx, admin, func(pod corev1.Pod) bool { return pod.Spec.NodeName == "worker-1" })
	})
}

func fourPods(ctx context.Context, admin kubernetes.Interface, like func(corev1.Pod) bool) (bool, string) {
	pods, err := admin.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return false, err.Error()
	}
	matching := 0
	for _, pod := range pods.Items {
		if like(pod) {
			matching++
		}
	}
	return matching == 4 && len(pods.Items) == 4, fmt.Sprintf("%d of %d pods", matching, len(pods.Items))
}

func admissionPolicy(t *testing.T, admin kubernetes.Interface) {
	ctx := t.Context()
	policy := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "no-forbidden"}, Spec: admissionv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}},
		}}}},
		Validations: []admissionv1.Validation{{Expression: "!object.metadata.name.startsWith('forbidden')", Message: "that name is forbidden"}},
	}}
	if _, err := admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(ctx, policy, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "no-forbidden"}, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
		PolicyName: "no-forbidden", ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}}}
	if _, err := admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	create := func(name string) error {
		object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
		_, err := admin.CoreV1().ConfigMaps(namespace).Create(ctx, object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	// The API server notices new policies by watching, within about a second.
	eventually(t, 20*time.Second, "the policy rejects", func() (bool, string) {
		err := create("forbidden-fruit")
		return err != nil && strings.Contains(err.Error(), "that name is forbidden"), fmt.Sprint(err)
	})
	if err := create("allowed"); err != nil {
		t.Errorf("the policy rejects everything: %v", err)
	}
}

func denied(t *testing.T, r *running) {
	account := clientFrom(t, r.run("kubeconfig", "--dir", r.dir, "--namespace", namespace, "--service-account", "default"))
	_, err := account.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "system:serviceaccount:"+namespace+":default") {
		t.Errorf("a service account without a role listed pods: %v", err)
	}
}

func clientCertificate(t *testing.T, r *running, admin kubernetes.Interface) {
	out := r.dir + "/kubelet.kubeconfig"
	r.run("client-cert", "--dir", r.dir, "--cn", "system:node:worker-1", "--org", "system:nodes", "--out", out)
	config := readFile(t, out)
	kubelet := clientFrom(t, config)
	_, err := kubelet.CoreV1().Nodes().Get(t.Context(), "worker-1", metav1.GetOptions{})
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), `"system:node:worker-1"`) {
		t.Errorf("plain RBAC knows no nodes, but: %v", err)
	}
	masters := clientFrom(t, r.run("client-cert", "--dir", r.dir, "--cn", "someone", "--org", "system:masters"))
	if _, err := masters.CoreV1().Nodes().Get(t.Context(), "worker-1", metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
}

func audit(t *testing.T, r *running) {
	for what, parts := range map[string][]string{
		"namespace created, metadata only": {`"level":"Metadata"`, `"verb":"create"`, `"resource":"namespaces"`, `"username":"admin"`},
		"pod created, with its content":    {`"level":"RequestResponse"`, `"verb":"create"`, `"resource":"pods"`, `"requestObject":{"kind":"Pod"`, `"username":"system:kube-controller-manager"`},
		"pod bound":                        {`"subresource":"binding"`, `"username":"system:kube-scheduler"`},
		"node status":                      {`"resource":"nodes"`, `"subresource":"status"`, `"responseObject":`},
		"the denial":                       {`"code":403`, `"username":"system:serviceaccount:` + namespace + `:default"`},
		"the policy's rejection":           {`"code":422`, `forbidden-fruit`},
	} {
		if !r.audited(parts...) {
			t.Errorf("not in the audit log: %s %v", what, parts)
		}
	}
	if r.audited(`"stage":"RequestReceived"`) {
		t.Error("requests are logged twice")
	}
}
