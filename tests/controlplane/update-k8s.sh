#!/bin/sh
# Moves this module to one Kubernetes version: ./update-k8s.sh v1.36.3
#
# k8s.io/kubernetes is not meant to be imported: its go.mod names every staging
# repository at v0.0.0, so each needs a replace line with the matching v0.x.y.
set -eu
cd "$(dirname "$0")"
version=${1:?usage: ./update-k8s.sh v1.MINOR.PATCH}
staging=v0.${version#v1.}

gomod=$(go mod download -json "k8s.io/kubernetes@$version" | sed -n 's/^[[:space:]]*"GoMod": "\(.*\)",*$/\1/p')
repos=$(sed -n 's/^[[:space:]]*\(k8s\.io\/[a-z0-9-]*\) v0\.0\.0\( .*\)*$/\1/p' "$gomod" | sort -u)
[ -n "$repos" ] || { echo "no staging repositories found in $gomod" >&2; exit 1; }

go mod edit -require="k8s.io/kubernetes@$version"
for repo in $repos; do
	go mod edit -replace="$repo=$repo@$staging"
done
go mod tidy
