// palisade-controlplane runs a real Kubernetes control plane for tests: etcd,
// kube-apiserver, kube-controller-manager and kube-scheduler from one binary.
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"palisade.dev/controlplane/internal/plane"
)

func main() {
	started := time.Now()
	// Not a cobra command: the component parses its own flags, all of them.
	if len(os.Args) > 2 && os.Args[1] == "component" {
		os.Exit(runComponent(os.Args[2], os.Args[3:]))
	}
	// The linked components register global flags, which cobra would mix with ours.
	pflag.CommandLine = pflag.NewFlagSet(os.Args[0], pflag.ContinueOnError)
	if err := rootCommand(started).Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "palisade-controlplane:", err)
		os.Exit(1)
	}
}

func rootCommand(started time.Time) *cobra.Command {
	options := &plane.Options{}
	root := &cobra.Command{
		Use:           "palisade-controlplane --dir DIR",
		Short:         "Run a Kubernetes control plane without nodes until told to stop",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := options.Finish(command.Flags()); err != nil {
				return err
			}
			return plane.Run(options, started, os.Stdout)
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	options.Register(root.Flags())
	root.AddCommand(serviceAccountCommand(), clientCertCommand())
	return root
}

// target are the flags both kubeconfig-making commands share.
type target struct{ dir, address, out string }

func (t *target) register(command *cobra.Command) {
	command.Flags().StringVar(&t.dir, "dir", "", "directory of the running control plane (required)")
	command.Flags().StringVar(&t.address, "address", "", "address to put into the kubeconfig instead of loopback, as given to --bind")
	command.Flags().StringVar(&t.out, "out", "", "file to write (default: standard output)")
	_ = command.MarkFlagRequired("dir")
}

func (t *target) write(content []byte) error {
	if t.out == "" {
		_, err := os.Stdout.Write(content)
		return err
	}
	return os.WriteFile(t.out, content, 0o600)
}

func serviceAccountCommand() *cobra.Command {
	var t target
	var namespace, name string
	var lifetime time.Duration
	command := &cobra.Command{
		Use:   "kubeconfig --dir DIR --namespace NS --service-account NAME",
		Short: "Write a kubeconfig with a token of an existing service account",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			content, err := plane.ServiceAccount(command.Context(), t.dir, t.address, namespace, name, lifetime)
			if err != nil {
				return err
			}
			return t.write(content)
		},
	}
	t.register(command)
	command.Flags().StringVar(&namespace, "namespace", "default", "namespace of the service account, also the kubeconfig's")
	command.Flags().StringVar(&name, "service-account", "", "its name (required)")
	command.Flags().DurationVar(&lifetime, "lifetime", 24*time.Hour, "how long the token is valid")
	_ = command.MarkFlagRequired("service-account")
	return command
}

func clientCertCommand() *cobra.Command {
	var t target
	var cn string
	var orgs []string
	command := &cobra.Command{
		Use:   "client-cert --dir DIR --cn CN [--org O]...",
		Short: "Write a kubeconfig with a new client certificate: user CN in groups O",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			content, err := plane.ClientCert(t.dir, t.address, cn, orgs)
			if err != nil {
				return err
			}
			return t.write(content)
		},
	}
	t.register(command)
	command.Flags().StringVar(&cn, "cn", "", "user name, such as system:node:NAME (required)")
	command.Flags().StringArrayVar(&orgs, "org", nil, "group, such as system:nodes; may be repeated")
	_ = command.MarkFlagRequired("cn")
	return command
}
