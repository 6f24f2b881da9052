package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"palisade.dev/controlplane/internal/plane"
)

// binary is built once, as xtask builds it, or comes from PALISADE_CONTROLPLANE.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PALISADE_CONTROLPLANE"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "palisade-controlplane-")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "palisade-controlplane")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	return path, build.Run()
})

var built string

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// running is a control plane which said that it is ready.
type running struct {
	plane.Ready
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	stdin  io.Closer
	exited chan error
}

// needBinary skips under -short and builds the program otherwise.
func needBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real control plane (about 5 s, and minutes of build the first time): run without -short")
	}
	path, err := binary()
	if err != nil {
		t.Fatalf("cannot build the control plane: %v", err)
	}
	return path
}

func start(t *testing.T, env []string, args ...string) *running {
	t.Helper()
	r := &running{t: t, dir: t.TempDir(), exited: make(chan error, 1)}
	r.cmd = exec.Command(needBinary(t), append([]string{"--dir", r.dir, "--exit-with-parent"}, args...)...)
	r.cmd.Env = append(os.Environ(), env...)
	r.cmd.Stderr = os.Stderr
	var err error
	if r.stdin, err = r.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	go func() { r.exited <- r.cmd.Wait() }()
	if err != nil {
		t.Fatalf("no line on stdout: %v; exit: %v", err, <-r.exited)
	}
	if err := json.Unmarshal(line, &r.Ready); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	file, err := os.ReadFile(filepath.Join(r.dir, "ready.json"))
	if err != nil || !bytes.Equal(file, line) {
		t.Errorf("ready file %q differs from stdout %q: %v", file, line, err)
	}
	return r
}

// ended waits for the program and checks that it left nobody behind.
func (r *running) ended(within time.Duration) error {
	r.t.Helper()
	var result error
	select {
	case result = <-r.exited:
	case <-time.After(within):
		r.t.Fatalf("still running after %s", within)
	}
	for name, pid := range r.PIDs {
		pid := pid
		eventually(r.t, 5*time.Second, name+" is gone", func() (bool, string) {
			return syscall.Kill(pid, 0) == syscall.ESRCH, "still there"
		})
	}
	return result
}

// run executes one of the other commands of the binary.
func (r *running) run(args ...string) []byte {
	r.t.Helper()
	out, err := exec.Command(needBinary(r.t), args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return out
}

func clientFrom(t *testing.T, kubeconfig []byte) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatalf("%v in %s", err, kubeconfig)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (r *running) admin() kubernetes.Interface {
	r.t.Helper()
	content, err := os.ReadFile(r.Kubeconfig)
	if err != nil {
		r.t.Fatal(err)
	}
	return clientFrom(r.t, content)
}

// audited tells whether some line of the audit log contains all the parts.
func (r *running) audited(parts ...string) bool {
	r.t.Helper()
	content, err := os.ReadFile(r.AuditLog)
	if err != nil {
		r.t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		found := 0
		for _, part := range parts {
			if strings.Contains(line, part) {
				found++
			}
		}
		if found == len(parts) {
			return true
		}
	}
	return false
}

func eventually(t *testing.T, within time.Duration, what string, check func() (bool, string)) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		ok, state := check()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s; now: %s", within, what, state)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
