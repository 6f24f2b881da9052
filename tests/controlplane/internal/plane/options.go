// Package plane starts and watches over etcd, kube-apiserver,
// kube-controller-manager and kube-scheduler as child processes of this one.
package plane

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Component names double as binary names, log file names and as the argument
// with which this program re-executes itself.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

const loopback = "127.0.0.1"

// DefaultControllers is what node remediation can be seen through: who taints,
// evicts, collects, detaches and recreates, and what these stand on. The two
// protection controllers are there because admission adds their finalizers to
// every volume and claim, which then could never be deleted.
var DefaultControllers = []string{
	"clusterrole-aggregation-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"garbage-collector-controller",
	"job-controller",
	"namespace-controller",
	"node-lifecycle-controller",
	"persistentvolume-attach-detach-controller",
	"persistentvolume-binder-controller",
	"persistentvolume-protection-controller",
	"persistentvolumeclaim-protection-controller",
	"pod-garbage-collector-controller",
	"replicaset-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"serviceaccount-token-controller",
	"statefulset-controller",
	"taint-eviction-controller",
	"ttl-after-finished-controller",
	"validatingadmissionpolicy-status-controller",
}

// passedThrough are kube-controller-manager flags given to it as they are, if
// given at all: its own defaults are the ones users have.
var passedThrough = []struct{ name, usage string }{
	{"node-monitor-grace-period", "silence after which a node is Unknown (kube-controller-manager)"},
	{"node-monitor-period", "how often nodes are looked at (kube-controller-manager)"},
	{"node-startup-grace-period", "the same for a node never seen ready (kube-controller-manager)"},
	{"node-eviction-rate", "nodes tainted per second (kube-controller-manager)"},
	{"secondary-node-eviction-rate", "the same in an unhealthy zone (kube-controller-manager)"},
	{"unhealthy-zone-threshold", "share of bad nodes that makes a zone unhealthy (kube-controller-manager)"},
	{"large-cluster-size-threshold", "nodes from which a cluster is large (kube-controller-manager)"},
	{"terminated-pod-gc-threshold", "ended pods kept (kube-controller-manager)"},
}

// Options is the command line.
type Options struct {
	Dir               string
	Bind              string
	Port              int
	AuditLog          string
	AuditPolicy       string
	ReadyFile         string
	ReadyTimeout      time.Duration
	ExitWithParent    bool
	UnsafeNoFsync     bool
	AuthorizationMode string
	Controllers       []string
	Passed            []string
	ExtraArgs         map[string]*[]string
}

// Register adds the flags; call Finish after parsing.
func (o *Options) Register(flags *pflag.FlagSet) {
	flags.StringVar(&o.Dir, "dir", "", "directory for everything this control plane writes (required)")
	flags.StringVar(&o.Bind, "bind", "", "serve the API on this address too, besides "+loopback)
	flags.IntVar(&o.Port, "port", 0, "port of the API server; 0 picks a free one")
	flags.StringVar(&o.AuditLog, "audit-log", "", "audit log file (default DIR/audit.log)")
	flags.StringVar(&o.AuditPolicy, "audit-policy", "", "audit policy to use instead of the built-in one")
	flags.StringVar(&o.ReadyFile, "ready-file", "", "written once everything answers (default DIR/ready.json)")
	flags.DurationVar(&o.ReadyTimeout, "ready-timeout", 2*time.Minute, "give up if not ready by then")
	flags.BoolVar(&o.ExitWithParent, "exit-with-parent", false, "stop when the parent process dies or closes our stdin (if that is a pipe)")
	flags.BoolVar(&o.UnsafeNoFsync, "etcd-unsafe-no-fsync", true, "let etcd skip fsync: faster, safe unless the machine crashes")
	flags.StringVar(&o.AuthorizationMode, "authorization-mode", "RBAC", "authorizers; with Node,RBAC kubelets need certificates of system:nodes")
	flags.StringSliceVar(&o.Controllers, "controllers", DefaultControllers, "controllers to run; * means all that are on by default")
	for _, flag := range passedThrough {
		flags.String(flag.name, "", flag.usage)
	}
	o.ExtraArgs = map[string]*[]string{}
	for component, name := range map[string]string{
		Etcd:              "etcd-arg",
		APIServer:         "apiserver-arg",
		ControllerManager: "controller-manager-arg",
		Scheduler:         "scheduler-arg",
	} {
		o.ExtraArgs[component] = flags.StringArray(name, nil, "one more argument for "+component+", such as --v=4; may be repeated")
	}
}

// Finish checks what was parsed and fills in what follows from it.
func (o *Options) Finish(flags *pflag.FlagSet) error {
	if o.Dir == "" {
		return errors.New("--dir is required")
	}
	if o.Port < 0 || o.Port > 65535 {
		return fmt.Errorf("--port %d is not a port", o.Port)
	}
	if o.Bind != "" && net.ParseIP(o.Bind) == nil {
		return fmt.Errorf("--bind %q is not an IP address", o.Bind)
	}
	if o.Bind == loopback {
		o.Bind = ""
	}
	if len(o.Controllers) == 0 {
		return errors.New("--controllers is empty")
	}
	for component, extra := range o.ExtraArgs {
		for _, arg := range *extra {
			if !strings.HasPrefix(arg, "-") {
				return fmt.Errorf("extra argument %q for %s does not start with a dash", arg, component)
			}
		}
	}
	for _, flag := range passedThrough {
		if parsed := flags.Lookup(flag.name); parsed != nil && parsed.Changed {
			o.Passed = append(o.Passed, "--"+flag.name+"="+parsed.Value.String())
		}
	}
	// Components run elsewhere in the file system one day: no relative paths.
	for _, path := range []*string{&o.Dir, &o.AuditLog, &o.AuditPolicy, &o.ReadyFile} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	if o.AuditLog == "" {
		o.AuditLog = filepath.Join(o.Dir, "audit.log")
	}
	if o.AuditPolicy == "" {
		o.AuditPolicy = filepath.Join(o.Dir, auditPolicyFile)
	}
	if o.ReadyFile == "" {
		o.ReadyFile = filepath.Join(o.Dir, "ready.json")
	}
	return nil
}

// wildcard is true for 0.0.0.0 and ::, where the API server itself must bind,
// because no second listener fits beside it on the same port.
func (o *Options) wildcard() bool {
	ip := net.ParseIP(o.Bind)
	return ip != nil && ip.IsUnspecified()
}

func (o *Options) path(name string) string { return filepath.Join(o.Dir, name) }
