#!/usr/bin/env bash
# Builds the images with buildah, without a daemon, for one or more architectures, as manifest lists.
#
#   deploy/container/build.sh CONTEXT REGISTRY TAG [ARCHITECTURE...]
#
# CONTEXT holds the finished files: ARCHITECTURE/palisade, ARCHITECTURE/palisade-agent (static: the musl targets), and
# remediators/*.wasm. Nothing is compiled and nothing is run here, so any machine can make images for any other.
#   cargo build --profile agent --target x86_64-unknown-linux-musl --package palisade-agent
#   cargo build --profile controller --target x86_64-unknown-linux-musl --package palisade --bin palisade
#   cargo xtask guests
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
context=$1 registry=$2 tag=$3
shift 3
[ $# -gt 0 ] || set -- amd64
here=$(cd "$(dirname "$0")" && pwd)

for image in controller agent; do
  name="$registry/$image:$tag"
  buildah manifest rm "$name" >/dev/null 2>&1 || true
  for architecture in "$@"; do
    # Same files, same image: no times of today, no names of this machine.
    buildah build --isolation chroot --timestamp 0 --platform "linux/$architecture" --manifest "$name" \
      --file "$here/Containerfile.$image" "$context"
  done
  echo "$name: $*"
done
