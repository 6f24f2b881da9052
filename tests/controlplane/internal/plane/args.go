package plane

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// ports are what one attempt to start uses, all on loopback.
type ports struct{ etcdClient, etcdPeer, api, controllerManager, scheduler int }

func httpURL(port int) string  { return "http://" + hostPort(port) }
func httpsURL(port int) string { return "https://" + hostPort(port) }
func hostPort(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// args are the flags of a component. They stay within what several Kubernetes
// and etcd releases know, because the binaries may come from outside.
func (o *Options) args(component string, p ports) []string {
	var args []string
	switch component {
	case Etcd:
		args = o.etcdArgs(p)
	case APIServer:
		args = o.apiServerArgs(p)
	case ControllerManager:
		args = o.controllerManagerArgs(p)
	case Scheduler:
		args = o.schedulerArgs(p)
	}
	// Last, so that an extra argument overrides ours.
	if extra := o.ExtraArgs[component]; extra != nil {
		args = append(args, *extra...)
	}
	return args
}

func (o *Options) etcdArgs(p ports) []string {
	args := []string{
		"--name=default",
		"--data-dir=" + o.path("etcd"),
		"--listen-client-urls=" + httpURL(p.etcdClient),
		"--advertise-client-urls=" + httpURL(p.etcdClient),
		"--listen-peer-urls=" + httpURL(p.etcdPeer),
		"--initial-advertise-peer-urls=" + httpURL(p.etcdPeer),
		"--initial-cluster=default=" + httpURL(p.etcdPeer),
		// 2 GiB, the default, is reached by a long test at thousands of nodes.
		"--quota-backend-bytes=8589934592",
	}
	if o.UnsafeNoFsync {
		args = append(args, "--unsafe-no-fsync")
	}
	return args
}

func (o *Options) apiServerArgs(p ports) []string {
	bind := loopback
	if o.wildcard() {
		bind = o.Bind
	}
	return []string{
		"--etcd-servers=" + httpURL(p.etcdClient),
		"--bind-address=" + bind,
		"--secure-port=" + strconv.Itoa(p.api),
		// A loopback address cannot be an endpoint of the `kubernetes` service,
		// so nothing may try to publish it.
		"--advertise-address=" + loopback,
		"--endpoint-reconciler-type=none",
		"--service-cluster-ip-range=10.96.0.0/16",
		"--tls-cert-file=" + o.path("apiserver.crt"),
		"--tls-private-key-file=" + o.path("apiserver.key"),
		"--client-ca-file=" + o.path("ca.crt"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + o.path("sa.pub"),
		"--service-account-signing-key-file=" + o.path("sa.key"),
		"--authorization-mode=" + o.AuthorizationMode,
		// The agent is a privileged DaemonSet.
		"--allow-privileged=true",
		"--profiling=false",
		// Load tests measure the controller, not the fairness of the queue.
		"--max-requests-inflight=3000",
		"--max-mutating-requests-inflight=1500",
		"--audit-policy-file=" + o.AuditPolicy,
		"--audit-log-path=" + o.AuditLog,
		"--audit-log-format=json",
		// A request is answered only after its line is written, so tests can
		// read the log right away; and never rotated, so they miss nothing.
		"--audit-log-mode=blocking",
		"--audit-log-maxsize=1000000",
	}
}

// authArgs let holders of our client certificates read metrics, without the
// look-up in kube-system that would slow down the start.
func (o *Options) authArgs(kubeconfig string, port int) []string {
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--authentication-skip-lookup=true",
		"--client-ca-file=" + o.path("ca.crt"),
		"--bind-address=" + loopback,
		"--secure-port=" + strconv.Itoa(port),
		"--tls-cert-file=" + o.path("component.crt"),
		"--tls-private-key-file=" + o.path("component.key"),
		"--leader-elect=false",
		"--profiling=false",
	}
}

func (o *Options) controllerManagerArgs(p ports) []string {
	args := append(o.authArgs(o.path("controller-manager.kubeconfig"), p.controllerManager),
		"--controllers="+strings.Join(o.Controllers, ","),
		"--use-service-account-credentials=false",
		"--service-account-private-key-file="+o.path("sa.key"),
		"--root-ca-file="+o.path("ca.crt"),
		// Fencing must be what frees a volume, never a timeout.
		"--disable-force-detach-on-timeout=true",
	)
	return append(args, o.Passed...)
}

func (o *Options) schedulerArgs(p ports) []string {
	return o.authArgs(o.path("scheduler.kubeconfig"), p.scheduler)
}

// pickPorts asks the kernel for free ports, all held at once so that they
// differ. Others may take one before we use it: then the caller tries again.
func pickPorts(apiPort int) (ports, error) {
	var p ports
	wanted := []*int{&p.etcdClient, &p.etcdPeer, &p.controllerManager, &p.scheduler}
	if apiPort == 0 {
		wanted = append(wanted, &p.api)
	} else {
		listener, err := net.Listen("tcp", hostPort(apiPort))
		if err != nil {
			return p, fmt.Errorf("port %d cannot be used: %w", apiPort, err)
		}
		defer listener.Close()
		p.api = apiPort
	}
	for _, port := range wanted {
		listener, err := net.Listen("tcp", hostPort(0))
		if err != nil {
			return p, fmt.Errorf("no free port on %s: %w", loopback, err)
		}
		defer listener.Close()
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return p, nil
}
