#!/bin/bash
# Runs a command in a bare Debian: see usage() below.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
# shellcheck source=scripts/lib/debian.sh
source "$here/scripts/lib/debian.sh"

usage() {
  cat <<'END'
Usage: tests/bare-root.sh 12|13 COMMAND [ARGUMENT...]

Runs COMMAND as root in a fresh minimal Debian 12 or 13, in a copy of this checkout (with uncommitted changes, without
ignored files), to see that the project needs nothing that only this machine has. For example:
  tests/bare-root.sh 13 scripts/quickstart
  tests/bare-root.sh 12 bash

Exits with COMMAND's status. Whatever COMMAND did is gone afterwards: its files, processes and mounts. It shares this
machine's kernel, network and cgroups.
Needs root and debootstrap. The first run builds the Debian (a minute) and keeps it as a tar file in
$STASIS_ROOTS (default /var/tmp/stasis-roots) for later ones; delete that to get a newer one.
END
}

say() { echo "bare-root: $*" >&2; }
die() { say "$*"; exit 1; }

case "${1:-}" in
  12) suite=bookworm ;;
  13) suite=trixie ;;
  -h | --help) usage; exit 0 ;;
  *) usage >&2; exit 2 ;;
esac
release=$1
shift
(($#)) || { usage >&2; exit 2; }
[[ $EUID == 0 ]] || die "must be run as root"
type -P debootstrap >/dev/null || die "needs debootstrap: scripts/setup --dev"

roots=${STASIS_ROOTS:-/var/tmp/stasis-roots}
base=$roots/debian-$release.tar
run=$roots/run.$$
mkdir -p "$roots"

# All mounts are made in mount namespaces of their own, so they vanish with their last process and are never seen here,
# where rm runs. --one-file-system is only for the case that this sentence becomes untrue.
discard() { rm -rf --one-file-system -- "$@"; }

child=""
# shellcheck disable=SC2317 # called by the trap
finish() {
  if [[ -n $child ]]; then
    kill -KILL "$child" 2>/dev/null || true # and by --kill-child everything inside
    wait "$child" 2>/dev/null || true
  fi
  discard "$run"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A killed run could not clean up after itself.
for old in "$roots"/run.*; do
  [[ ! -d $old || -d /proc/${old##*.} ]] || discard "$old"
done
mkdir "$run"

build_base() {
  local uri
  read -r uri < <(debian_uris)
  say "building a minimal Debian $release from $uri"
  unshare --mount debootstrap --variant=minbase "$suite" "$run/root" "$uri" >"$run/debootstrap.log" 2>&1 ||
    { tail -n 20 "$run/debootstrap.log" >&2; die "debootstrap failed"; }
  if [[ $release == 13 ]]; then
    # As Debian 13's installer writes it, and so both formats are tried.
    rm "$run/root/etc/apt/sources.list"
    printf '%s\n' 'Types: deb' "URIs: $uri" "Suites: $suite $suite-updates" 'Components: main' \
      'Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg' >"$run/root/etc/apt/sources.list.d/debian.sources"
  fi
  rm -f "$run"/root/var/cache/apt/archives/*.deb
  tar -C "$run/root" --numeric-owner --xattrs -cf "$run/base.tar" .
  mv "$run/base.tar" "$base"
  discard "$run/root"
}

# A clone, since the scripts ask git what has changed, then the files as they are now.
copy_checkout() { # DESTINATION
  git clone --quiet --no-local --no-checkout "$here" "$1"
  git -C "$1" reset --quiet
  git -C "$here" ls-files -z --cached --others --exclude-standard --deduplicate |
    (cd "$here" && while IFS= read -r -d '' file; do [[ ! -e $file && ! -L $file ]] || printf '%s\0' "$file"; done) |
    tar -C "$here" --null --no-recursion -T - -cf - | tar -C "$1" -xf -
}

[[ -f $base ]] || build_base
mkdir "$run/root"
tar -C "$run/root" --numeric-owner --xattrs -xf "$base"
cp /etc/resolv.conf "$run/root/etc/resolv.conf"
copy_checkout "$run/root/root/stasis"

# In a plain chroot CRIU finds no root mount, hence pivot_root. The outer bash becomes the process 1 of the namespace and
# stays: it waits for orphans.
# shellcheck disable=SC2016 # expanded inside
enter='
  set -e
  cd "$1"; shift
  mount --bind . .
  cd "$PWD"
  mount -t proc proc proc
  mount --rbind /sys sys
  mount --rbind /dev dev
  mount -t tmpfs -o mode=1777 tmpfs dev/shm
  mount -t tmpfs -o mode=755 tmpfs run
  pivot_root . mnt
  exec env -i HOME=/root TERM="${TERM:-dumb}" LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    chroot . bash -c "umount --lazy /mnt; cd /root/stasis; \"\$@\"; exit \$?" bash "$@"
'
setpriv --pdeathsig KILL \
  unshare --mount --pid --ipc --uts --fork --kill-child bash -c "$enter" bash "$run/root" "$@" <&0 &
child=$!
status=0
wait "$child" || status=$?
child=""
exit "$status"
