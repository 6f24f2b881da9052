package plane

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Ready is the one line on stdout and the content of the ready file.
type Ready struct {
	Server            string  `json:"server"`
	Kubeconfig        string  `json:"kubeconfig"`
	AuditLog          string  `json:"auditLog"`
	PID               int     `json:"pid"`
	ReadySeconds      float64 `json:"readySeconds"`
	KubernetesVersion string  `json:"kubernetesVersion"`
	// Where the other components serve health and metrics, for the admin certificate.
	ControllerManager string `json:"controllerManager"`
	Scheduler         string `json:"scheduler"`
	Etcd              string `json:"etcd"`
	// Process of each component, by name: SIGSTOP makes an outage, SIGCONT ends it.
	PIDs map[string]int `json:"pids"`
	// The second address of --bind, if any.
	BindServer string `json:"bindServer,omitempty"`
}

// probe answers nil once a thing is ready.
type probe func(context.Context) error

// await repeats a probe until it succeeds, a process dies or time is up.
func await(ctx context.Context, what string, processes []*process, check probe) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := check(attempt)
		cancel()
		if err == nil {
			return nil
		}
		for _, p := range processes {
			select {
			case <-p.done:
				return p.died()
			default:
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("gave up waiting for %s: %w; last answer: %v", what, context.Cause(ctx), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// prober trusts our authority and nobody else.
func prober(caPEM []byte) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		DisableKeepAlives: true,
	}}
}

// answersOK probes an HTTP endpoint which needs no credentials.
func answersOK(client *http.Client, url string) probe {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(io.LimitReader(response.Body, 2048))
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s: %s", url, response.Status, body)
		}
		return nil
	}
}

// furnished probes for what a test takes for granted in a fresh cluster. The
// service account comes from the controller manager, and pods need it.
func furnished(client kubernetes.Interface) probe {
	return func(ctx context.Context) error {
		for _, name := range []string{"default", "kube-system", "kube-node-lease"} {
			if _, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); err != nil {
				return err
			}
		}
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	}
}

// announce writes the ready file, complete or not at all, then the line.
func (o *Options) announce(ready Ready, out io.Writer) error {
	line, err := json.Marshal(ready)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	temporary, err := os.CreateTemp(filepath.Dir(o.ReadyFile), ".ready-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(line); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	if err := os.Rename(temporary.Name(), o.ReadyFile); err != nil {
		return err
	}
	_, err = out.Write(line)
	return err
}
