package plane

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// process is one component, running or ended.
type process struct {
	name    string
	logFile string
	logFrom int64
	cmd     *exec.Cmd
	done    chan struct{} // closed once it ended; err is set before
	err     error
}

// spawner starts children from one thread which lives as long as this process.
// The kernel kills a child when the *thread* that forked it ends, and Go ends
// threads as it likes: without this, components would die at random.
type spawner chan func()

func newSpawner() spawner {
	s := make(spawner)
	go func() {
		runtime.LockOSThread()
		for work := range s {
			work()
		}
	}()
	return s
}

// command finds what to execute: a binary of KUBEBUILDER_ASSETS if there is
// one, else this very program.
func command(component string, args []string) (*exec.Cmd, error) {
	if assets := os.Getenv("KUBEBUILDER_ASSETS"); assets != "" {
		binary := filepath.Join(assets, component)
		info, err := os.Stat(binary)
		switch {
		case err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0:
			return exec.Command(binary, args...), nil
		case err == nil:
			return nil, fmt.Errorf("%s of KUBEBUILDER_ASSETS is not an executable file", binary)
		case !errors.Is(err, os.ErrNotExist):
			return nil, fmt.Errorf("KUBEBUILDER_ASSETS: %w", err)
		}
	}
	// Not its path: a new build may have taken that place since we started.
	cmd := exec.Command("/proc/self/exe", append([]string{"component", component}, args...)...)
	cmd.Args[0] = "palisade-controlplane"
	return cmd, nil
}

// start runs a component with its output in DIR/NAME.log.
func (s spawner) start(dir, name string, args []string) (*process, error) {
	cmd, err := command(name, args)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		// Ctrl-C in a terminal reaches the whole group: only we decide the order.
		Setpgid: true,
	}
	p := &process{name: name, logFile: path, logFrom: from, cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	s <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// environment is ours without what would silently configure a component.
func environment() []string {
	var env []string
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "ETCD_") && !strings.HasPrefix(entry, "KUBECONFIG=") {
			env = append(env, entry)
		}
	}
	return env
}

// stop asks politely and, after the grace period, does not.
func (p *process) stop(grace time.Duration) {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(grace):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// diedError says what the component said last.
type diedError struct {
	name, reason, path, tail string
}

func (e *diedError) Error() string {
	return fmt.Sprintf("%s died: %s; the end of %s:\n%s", e.name, e.reason, e.path, e.tail)
}

func (p *process) died() *diedError {
	reason := "exit status 0"
	if p.err != nil {
		reason = p.err.Error()
	}
	return &diedError{p.name, reason, p.logFile, tail(p.logFile, p.logFrom, 20)}
}

// portClash recognises that another program took a port after we picked it.
func (e *diedError) portClash() bool { return strings.Contains(e.tail, "address already in use") }

// tail returns the last lines of a file, of at most its last 64 KiB, and
// nothing before the offset, where an earlier run ended.
func tail(path string, from int64, lines int) string {
	file, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err.Error()
	}
	from = max(from, info.Size()-64<<10)
	content, err := io.ReadAll(io.NewSectionReader(file, from, info.Size()-from))
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimRight(content, "\n"), []byte("\n"))
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return string(bytes.Join(all, []byte("\n")))
}
