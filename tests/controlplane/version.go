package main

import (
	"runtime/debug"
	"strings"
	"sync/atomic"
	_ "unsafe" // for go:linkname
)

// Kubernetes gets its version from linker flags of its own build; built as a
// module it calls itself v0.0.0-master, which clients that compare versions do
// not survive. What the components report is set here instead, so that a plain
// `go build` without special flags does the right thing.

//go:linkname gitMajor k8s.io/component-base/version.gitMajor
var gitMajor string

//go:linkname gitMinor k8s.io/component-base/version.gitMinor
var gitMinor string

//go:linkname dynamicGitVersion k8s.io/component-base/version.dynamicGitVersion
var dynamicGitVersion atomic.Value

// kubernetesVersion is that of the linked module, from go.mod.
func kubernetesVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "k8s.io/kubernetes" {
				return module.Version
			}
		}
	}
	return "unknown"
}

func stampVersion() {
	version := kubernetesVersion()
	parts := strings.SplitN(strings.TrimPrefix(version, "v"), ".", 3)
	if len(parts) != 3 {
		return
	}
	gitMajor, gitMinor = parts[0], parts[1]
	dynamicGitVersion.Store(version)
}
