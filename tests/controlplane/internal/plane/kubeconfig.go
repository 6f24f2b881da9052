package plane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"strconv"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"palisade.dev/controlplane/internal/pki"
)

const adminKubeconfig = "admin.kubeconfig"

// kubeconfig is self-contained: it stays good when copied elsewhere.
func kubeconfig(server string, caPEM []byte, namespace, user string, auth clientcmdapi.AuthInfo) *clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters["palisade"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: caPEM}
	config.AuthInfos[user] = &auth
	config.Contexts["palisade"] = &clientcmdapi.Context{Cluster: "palisade", AuthInfo: user, Namespace: namespace}
	config.CurrentContext = "palisade"
	return config
}

func clientCertKubeconfig(authority *pki.Authority, server, cn string, orgs []string) (*clientcmdapi.Config, error) {
	pair, err := authority.Client(cn, orgs)
	if err != nil {
		return nil, err
	}
	return kubeconfig(server, authority.CertPEM(), "", cn, clientcmdapi.AuthInfo{
		ClientCertificateData: pair.Cert,
		ClientKeyData:         pair.Key,
	}), nil
}

// running reads the admin kubeconfig of the control plane in dir.
func running(dir string) (*clientcmdapi.Cluster, kubernetes.Interface, error) {
	path := filepath.Join(dir, adminKubeconfig)
	config, err := clientcmd.LoadFromFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s has no %s: was a control plane started there?", dir, adminKubeconfig)
	}
	if err != nil {
		return nil, nil, err
	}
	cluster := config.Clusters["palisade"]
	if cluster == nil {
		return nil, nil, fmt.Errorf("%s was not written by this program", path)
	}
	rest, err := clientcmd.NewDefaultClientConfig(*config, nil).ClientConfig()
	if err != nil {
		return nil, nil, err
	}
	client, err := kubernetes.NewForConfig(rest)
	return cluster, client, err
}

// serverAt is the API server's URL, or the same port at another address.
func serverAt(server, address string) (string, error) {
	if address == "" {
		return server, nil
	}
	_, port, err := net.SplitHostPort(server[len("https://"):])
	if err != nil {
		return "", err
	}
	if _, err := strconv.Atoi(port); err != nil {
		return "", err
	}
	return "https://" + net.JoinHostPort(address, port), nil
}

// ClientCert is the client-cert command: a kubeconfig with a fresh certificate.
func ClientCert(dir, address, cn string, orgs []string) ([]byte, error) {
	authority, err := pki.Load(dir)
	if err != nil {
		return nil, fmt.Errorf("no authority: was a control plane started in %s? %w", dir, err)
	}
	cluster, _, err := running(dir)
	if err != nil {
		return nil, err
	}
	server, err := serverAt(cluster.Server, address)
	if err != nil {
		return nil, err
	}
	config, err := clientCertKubeconfig(authority, server, cn, orgs)
	if err != nil {
		return nil, err
	}
	return clientcmd.Write(*config)
}

// ServiceAccount is the kubeconfig command: a kubeconfig with a token which the
// API server issued for an existing service account.
func ServiceAccount(ctx context.Context, dir, address, namespace, name string, lifetime time.Duration) ([]byte, error) {
	cluster, client, err := running(dir)
	if err != nil {
		return nil, err
	}
	seconds := int64(lifetime.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	token, err := client.CoreV1().ServiceAccounts(namespace).CreateToken(ctx, name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("no token for service account %s/%s: %w", namespace, name, err)
	}
	server, err := serverAt(cluster.Server, address)
	if err != nil {
		return nil, err
	}
	auth := clientcmdapi.AuthInfo{Token: token.Status.Token}
	return clientcmd.Write(*kubeconfig(server, cluster.CertificateAuthorityData, namespace, name, auth))
}
