package main

import (
	"fmt"
	"os"
	_ "time/tzdata" // CronJob time zones, whatever the machine has installed

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // version metric
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"palisade.dev/controlplane/internal/plane"
)

// runComponent turns this process into one component. Each one gets a process
// of its own because feature gates, metric registries, log flags and the
// defaults of API types are package globals which two in one process fight over.
func runComponent(name string, args []string) int {
	stampVersion()
	var command *cobra.Command
	switch name {
	case plane.Etcd:
		etcdmain.Main(append([]string{name}, args...))
		return 0
	case plane.APIServer:
		command = apiserver.NewAPIServerCommand()
	case plane.ControllerManager:
		command = controllermanager.NewControllerManagerCommand()
	case plane.Scheduler:
		command = scheduler.NewSchedulerCommand()
	default:
		fmt.Fprintf(os.Stderr, "palisade-controlplane: no component %q\n", name)
		return 2
	}
	command.SetArgs(args)
	return cli.Run(command)
}
