package main

import "os"

import (
	_ "k8s.io/client-go/kubernetes"
	_ "k8s.io/client-go/tools/clientcmd"
	_ "k8s.io/client-go/dynamic"
)

func main() { os.Exit(runComponent(os.Args[1], os.Args[2:])) }
