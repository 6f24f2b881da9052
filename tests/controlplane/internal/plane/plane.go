package plane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"palisade.dev/controlplane/internal/pki"
)

const (
	startAttempts = 5
	// How long a component may take to stop by itself.
	grace = 8 * time.Second
)

// errStop is the cause of a stop somebody asked for: not a failure.
var errStop = errors.New("asked to stop")

// plane is one running control plane.
type plane struct {
	*Options
	spawner   spawner
	ports     ports
	authority *pki.Authority
	processes []*process
	closers   []io.Closer
}

// Run starts everything, says so on out, and returns when told to stop or when
// a component dies. No child is left in either case.
func Run(o *Options, started time.Time, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	// Before anything slow, so that a parent which dies early is noticed.
	if o.ExitWithParent {
		followParent(func(cause error) { cancel(errors.Join(errStop, cause)) }, os.Getppid())
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-signals
		cancel(errStop)
		<-signals
		os.Exit(130) // The second signal means now; the kernel ends the children.
	}()

	unlock, err := o.claim()
	if err != nil {
		return err
	}
	defer unlock()
	defer os.Remove(o.ReadyFile)

	p := &plane{Options: o, spawner: newSpawner()}
	defer p.stop()
	if err := p.prepare(); err != nil {
		return err
	}
	err = p.startWithRetries(ctx, started, out)
	if err == nil {
		err = p.watch(ctx)
	}
	if errors.Is(context.Cause(ctx), errStop) {
		return nil
	}
	return err
}

// claim makes the directory and locks it against a second control plane.
func (o *Options) claim() (func(), error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	lock, err := os.OpenFile(o.path("lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("--dir is not writable: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("another control plane runs in %s", o.Dir)
	}
	// A file of an earlier run must not be taken for ours.
	if err := os.Remove(o.ReadyFile); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("--ready-file: %w", err)
	}
	return func() { lock.Close() }, nil
}

// prepare writes what does not depend on ports.
func (p *plane) prepare() error {
	authority, err := pki.LoadOrCreate(p.Dir)
	if err != nil {
		return err
	}
	p.authority = authority
	if err := pki.EnsureSigningKey(p.Dir); err != nil {
		return err
	}
	hosts := []string{loopback, "::1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"}
	if p.Bind != "" {
		hosts = append(hosts, p.Bind)
	}
	for name, hosts := range map[string][]string{"apiserver": hosts, "component": {loopback, "localhost"}} {
		pair, err := authority.Server(name, hosts)
		if err != nil {
			return err
		}
		if err := pki.Write(p.Dir, name, pair); err != nil {
			return err
		}
	}
	return os.WriteFile(p.path(auditPolicyFile), []byte(auditPolicy), 0o644)
}

// writeKubeconfigs needs the API server's port.
func (p *plane) writeKubeconfigs() error {
	for _, identity := range []struct {
		file, cn string
		orgs     []string
	}{
		{adminKubeconfig, "admin", []string{"system:masters"}},
		// All controllers share this identity, and its own role would not do:
		// it expects each of them to use a service account.
		{"controller-manager.kubeconfig", "system:kube-controller-manager", []string{"system:masters"}},
		{"scheduler.kubeconfig", "system:kube-scheduler", nil},
	} {
		config, err := clientCertKubeconfig(p.authority, httpsURL(p.ports.api), identity.cn, identity.orgs)
		if err != nil {
			return err
		}
		if err := clientcmd.WriteToFile(*config, p.path(identity.file)); err != nil {
			return err
		}
	}
	return nil
}

// startWithRetries starts over with other ports if somebody took one of ours
// between picking and using it.
func (p *plane) startWithRetries(ctx context.Context, started time.Time, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.ReadyTimeout, fmt.Errorf("not ready within %s (--ready-timeout)", p.ReadyTimeout))
	defer cancel()
	for attempt := 1; ; attempt++ {
		err := p.start(ctx, started, out)
		if err == nil || attempt == startAttempts || !p.portClash(err) {
			return err
		}
		p.stop()
	}
}

// portClash is true where other ports could help. With a fixed API port that
// was free when we looked, starting over at least says clearly whose it is.
func (p *plane) portClash(err error) bool {
	var died *diedError
	if errors.As(err, &died) {
		return died.portClash()
	}
	return p.Port == 0 && errors.Is(err, syscall.EADDRINUSE)
}

func (p *plane) start(ctx context.Context, started time.Time, out io.Writer) error {
	var err error
	if p.ports, err = pickPorts(p.Port); err != nil {
		return err
	}
	if err := p.writeKubeconfigs(); err != nil {
		return err
	}
	web := prober(p.authority.CertPEM())
	if err := p.launch(Etcd); err != nil {
		return err
	}
	if err := await(ctx, "etcd", p.processes, answersOK(web, httpURL(p.ports.etcdClient)+"/health")); err != nil {
		return err
	}
	if err := p.launch(APIServer); err != nil {
		return err
	}
	if err := await(ctx, APIServer, p.processes, answersOK(web, httpsURL(p.ports.api)+"/readyz")); err != nil {
		return err
	}
	if err := p.launch(ControllerManager, Scheduler); err != nil {
		return err
	}
	if p.Bind != "" && !p.wildcard() {
		closer, err := forward(p.Bind, p.ports.api)
		if err != nil {
			return err
		}
		p.closers = append(p.closers, closer)
	}
	_, client, err := running(p.Dir)
	if err != nil {
		return err
	}
	version, err := p.awaitFurnished(ctx, client, []waiting{
		{ControllerManager, answersOK(web, httpsURL(p.ports.controllerManager)+"/healthz")},
		{Scheduler, answersOK(web, httpsURL(p.ports.scheduler)+"/healthz")},
		{"the default namespaces and service account", furnished(client)},
	})
	if err != nil {
		return err
	}
	ready := Ready{
		Server:            httpsURL(p.ports.api),
		Kubeconfig:        p.path(adminKubeconfig),
		AuditLog:          p.AuditLog,
		PID:               os.Getpid(),
		ReadySeconds:      float64(time.Since(started).Milliseconds()) / 1000,
		KubernetesVersion: version,
		ControllerManager: httpsURL(p.ports.controllerManager),
		Scheduler:         httpsURL(p.ports.scheduler),
		Etcd:              httpURL(p.ports.etcdClient),
		PIDs:              map[string]int{},
	}
	for _, child := range p.processes {
		ready.PIDs[child.name] = child.cmd.Process.Pid
	}
	if p.Bind != "" {
		if ready.BindServer, err = serverAt(ready.Server, p.Bind); err != nil {
			return err
		}
	}
	return p.announce(ready, out)
}

type waiting struct {
	what  string
	check probe
}

func (p *plane) awaitFurnished(ctx context.Context, client kubernetes.Interface, all []waiting) (string, error) {
	for _, one := range all {
		if err := await(ctx, one.what, p.processes, one.check); err != nil {
			return "", err
		}
	}
	version, err := client.Discovery().ServerVersion()
	if err != nil {
		return "", err
	}
	return version.GitVersion, nil
}

func (p *plane) launch(names ...string) error {
	for _, name := range names {
		child, err := p.spawner.start(p.Dir, name, p.args(name, p.ports))
		if err != nil {
			return err
		}
		p.processes = append(p.processes, child)
	}
	return nil
}

// watch returns when told to stop or with the first death.
func (p *plane) watch(ctx context.Context) error {
	deaths := make(chan *process, len(p.processes))
	for _, child := range p.processes {
		go func() {
			<-child.done
			deaths <- child
		}()
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case dead := <-deaths:
		return dead.died()
	}
}

// stop ends the components in reverse order, clients before their server.
func (p *plane) stop() {
	for _, closer := range p.closers {
		_ = closer.Close()
	}
	for i := len(p.processes) - 1; i >= 0; i-- {
		p.processes[i].stop(grace)
	}
	p.closers, p.processes = nil, nil
}
