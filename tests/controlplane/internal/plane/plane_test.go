package plane

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, args ...string) (*Options, error) {
	t.Helper()
	o := &Options{}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.Register(flags)
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	return o, o.Finish(flags)
}

func TestDefaults(t *testing.T) {
	o, err := parse(t, "--dir=/d")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{o.AuditLog, "/d/audit.log"},
		{o.ReadyFile, "/d/ready.json"},
		{o.AuditPolicy, "/d/audit-policy.yaml"},
		{o.AuthorizationMode, "RBAC"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
	for component, want := range map[string]string{
		Etcd:              "--unsafe-no-fsync",
		APIServer:         "--endpoint-reconciler-type=none",
		ControllerManager: "--disable-force-detach-on-timeout=true",
		Scheduler:         "--leader-elect=false",
	} {
		if args := o.args(component, ports{}); !slices.Contains(args, want) {
			t.Errorf("%s lacks %s: %v", component, want, args)
		}
	}
	for _, arg := range o.args(ControllerManager, ports{}) {
		if strings.HasPrefix(arg, "--node-") {
			t.Errorf("%s was not asked for", arg)
		}
	}
}

func TestFlagsReachTheirComponent(t *testing.T) {
	o, err := parse(t, "--dir=/d", "--node-monitor-grace-period=20s", "--controllers=*,-job-controller",
		"--etcd-unsafe-no-fsync=false", "--authorization-mode=Node,RBAC", "--apiserver-arg=--v=4", "--apiserver-arg=--event-ttl=2h")
	if err != nil {
		t.Fatal(err)
	}
	p := ports{api: 6443, etcdClient: 2379}
	for component, wanted := range map[string][]string{
		ControllerManager: {"--node-monitor-grace-period=20s", "--controllers=*,-job-controller"},
		APIServer:         {"--authorization-mode=Node,RBAC", "--v=4", "--event-ttl=2h", "--secure-port=6443", "--etcd-servers=http://127.0.0.1:2379"},
	} {
		args := o.args(component, p)
		for _, want := range wanted {
			if !slices.Contains(args, want) {
				t.Errorf("%s lacks %s: %v", component, want, args)
			}
		}
	}
	if slices.Contains(o.args(Etcd, p), "--unsafe-no-fsync") {
		t.Error("etcd was told to skip fsync")
	}
}

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"--dir is required": {},
		"is not a port":     {"--dir=/d", "--port=70000"},
		"not an IP address": {"--dir=/d", "--bind=example"},
		"with a dash":       {"--dir=/d", "--scheduler-arg=v=4"},
		"--controllers":     {"--dir=/d", "--controllers="},
	} {
		if _, err := parse(t, args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %q", args, err, want)
		}
	}
}

func TestPickPorts(t *testing.T) {
	p, err := pickPorts(0)
	if err != nil {
		t.Fatal(err)
	}
	all := []int{p.etcdClient, p.etcdPeer, p.api, p.controllerManager, p.scheduler}
	slices.Sort(all)
	if len(slices.Compact(all)) != 5 || all[0] == 0 {
		t.Errorf("not five ports: %+v", p)
	}
	listener, err := net.Listen("tcp", hostPort(0))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	taken := listener.Addr().(*net.TCPAddr).Port
	if _, err := pickPorts(taken); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("port %d", taken)) {
		t.Errorf("taken port: %v", err)
	}
}

func TestTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("earlier run\na\nb\nc\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	offset := int64(len("earlier run\n"))
	for lines, want := range map[int]string{2: "b\nc", 20: "a\nb\nc"} {
		if got := tail(path, offset, lines); got != want {
			t.Errorf("%d lines: %q, want %q", lines, got, want)
		}
	}
}

func TestAuditPolicyIsYAML(t *testing.T) {
	var policy struct {
		Rules []struct{ Level string }
	}
	if err := yaml.Unmarshal([]byte(auditPolicy), &policy); err != nil {
		t.Fatal(err)
	}
	if last := policy.Rules[len(policy.Rules)-1]; last.Level != "Metadata" {
		t.Errorf("the last rule is %+v: some requests would not be logged", last)
	}
}

func TestServerAt(t *testing.T) {
	for address, want := range map[string]string{"": "https://127.0.0.1:6443", "10.1.0.1": "https://10.1.0.1:6443", "fd00::1": "https://[fd00::1]:6443"} {
		if got, err := serverAt("https://127.0.0.1:6443", address); err != nil || got != want {
			t.Errorf("%s: %s %v", address, got, err)
		}
	}
}
