package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestNothingSurvivesSIGKILL(t *testing.T) {
	r := start(t, nil)
	if err := r.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = r.ended(5 * time.Second)
}

func TestEndsWhenStdinCloses(t *testing.T) {
	r := start(t, nil)
	if err := r.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.ended(30 * time.Second); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "ready.json")); err == nil {
		t.Error("the ready file outlived the control plane")
	}
}

// TestSubstitutes covers KUBEBUILDER_ASSETS and --bind together, and what is
// reported when a component dies after all was ready.
func TestSubstitutes(t *testing.T) {
	assets := t.TempDir()
	script := "#!/bin/sh\necho substituted\nexec " + needBinary(t) + " component kube-scheduler \"$@\"\n"
	if err := os.WriteFile(filepath.Join(assets, "kube-scheduler"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	r := start(t, []string{"KUBEBUILDER_ASSETS=" + assets}, "--bind=127.0.0.2")
	if log := readFile(t, filepath.Join(r.dir, "kube-scheduler.log")); !strings.Contains(string(log), "substituted") {
		t.Error("the scheduler of KUBEBUILDER_ASSETS was not used")
	}
	elsewhere := clientFrom(t, r.run("client-cert", "--dir", r.dir, "--address=127.0.0.2", "--cn=x", "--org=system:masters"))
	if _, err := elsewhere.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("not served at the second address: %v", err)
	}
	if err := syscall.Kill(r.PIDs["kube-controller-manager"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := r.ended(30 * time.Second); err == nil {
		t.Error("success although a component died")
	}
}

// TestErrors wants each mistake named, and never half a control plane left.
func TestErrors(t *testing.T) {
	path := needBinary(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, taken, _ := net.SplitHostPort(listener.Addr().String())
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"port in use", []string{"--dir", t.TempDir(), "--port", taken}, []string{"port " + taken, "in use"}},
		{"directory is a file", []string{"--dir", file + "/x"}, []string{"--dir", file}},
		{"component dies", []string{"--dir", t.TempDir(), "--apiserver-arg=--no-such-flag"}, []string{"kube-apiserver died", "kube-apiserver.log", "unknown flag: --no-such-flag"}},
		{"unknown controller", []string{"--dir", t.TempDir(), "--controllers=nonsense"}, []string{"kube-controller-manager died", `nonsense\" is not in the list`}},
		{"no plane there", []string{"client-cert", "--dir", t.TempDir(), "--cn=x"}, []string{"was a control plane started"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := exec.Command(path, c.args...).CombinedOutput()
			if err == nil {
				t.Error("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("%q is not in: %s", want, out)
				}
			}
		})
	}
}
