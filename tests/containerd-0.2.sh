#!/bin/bash
# Tries types.API against the programs it comes from: see usage() below.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")

usage() {
  cat <<'END'
Usage: tests/containerd-0.2.sh CLONE

Builds containerd, its shim and ctr of version 0.2.9 out of CLONE, a git repository of containerd with its tags, and runs the
tests of our client against that containerd, and of that ctr against our supervisor. Needs root, git, Debian's golang-go and a
built release. The programs are kept in build/containerd-0.2.
END
}

[[ $# == 1 && $1 != --help ]] || { usage >&2; exit 2; }
clone=$(realpath "$1")
programs=$here/build/containerd-0.2
if [[ ! -x $programs/containerd || ! -x $programs/containerd-shim || ! -x $programs/ctr ]]; then
  type -P go >/dev/null || { echo "SKIPPED: no go; apt-get install golang-go"; exit 77; }
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  source=$work/src/github.com/containerd/containerd
  mkdir -p "$source" "$programs"
  git -C "$clone" archive v0.2.9 | tar -C "$source" -xf -
  for program in containerd containerd-shim ctr; do
    (cd "$source" && GO111MODULE=off GOPATH=$source/vendor:$work GOCACHE=$work/cache go build -o "$programs/$program" "./$program")
  done
fi
STASIS_CONTAINERD=$programs ctest --test-dir "$here/build/release" --output-on-failure --no-tests=error -R 'Real(Containerd|Ctr)Test'
