#!/bin/bash
# Runs a command on Debian 13's kernel with cgroup v2: see usage() below.
set -euo pipefail
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")/..")
# shellcheck source=scripts/lib/debian.sh
source "$here/scripts/lib/debian.sh"

usage() {
  cat <<'END'
Usage: tests/virtual-machine.sh COMMAND [ARGUMENT...]

Boots Debian 13's cloud kernel under qemu (no KVM needed), all cgroup v2 controllers on, with a minimal Debian 12 as its root, and
runs COMMAND there as root in a copy of this checkout, with the programs of build/release as they are here. For example:
  tests/virtual-machine.sh scripts/quickstart --built
  tests/virtual-machine.sh build/release/bin/linux_test --gtest_filter='*Cgroup*'
  tests/virtual-machine.sh /usr/bin/python3 -m pytest -q tests/integration/test_checkpoints.py

Exits with COMMAND's status. Needs root, qemu-system-x86, debootstrap, e2fsprogs, cpio, kmod. The first run builds the root and keeps it in
$STASIS_ROOTS (default /var/tmp/stasis-roots). Emulation is 10 to 30 times slower than the machine.
STASIS_VM_SECONDS bounds a run (default 3000).
END
}

say() { echo "virtual-machine: $*" >&2; }
die() { say "$*"; exit 1; }

(($#)) || { usage >&2; exit 2; }
[[ $1 != --help ]] || { usage; exit 0; }
for program in qemu-system-x86_64 debootstrap mke2fs cpio modprobe; do
  type -P "$program" >/dev/null || { echo "SKIPPED: no $program"; exit 77; }
done
[[ -x $here/build/release/bin/stasisd || -n ${STASIS_VM_BARE:-} ]] || die "build/release is not built"

roots=${STASIS_ROOTS:-/var/tmp/stasis-roots}
base=$roots/machine.tar
run=$roots/machine.$$
mkdir -p "$roots" "$run"
trap 'rm -rf --one-file-system -- "$run"' EXIT

runtime_packages=libgrpc++1.51,libprotobuf32,libprotobuf-lite32,libabsl20220623,libsqlite3-0,libarchive13,libspdlog1.10,libssl3,libzstd1,liblz4-1,libxxhash0,libasan8
tool_packages=busybox-static,ca-certificates,curl,iproute2,procps,kmod,python3-pytest,python3-docker,redis-server,nginx-light
tool_packages+=,inotify-tools,git,bsdextrautils,gcc,libc6-dev,tini,zlib1g

# What Debian 13 calls its kernel changes with every update: the package that depends on it is asked.
get_kernel() { # DESTINATION
  local uri apt=$run/apt
  mkdir -p "$apt"/lists/partial "$apt"/archives/partial
  : >"$apt/status"
  read -r uri < <(debian_uris)
  echo "deb [arch=amd64 signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri trixie main" >"$apt/sources.list"
  apt_13() {
    apt-get -qq -o Dir::State::Lists="$apt/lists" -o Dir::Cache::Archives="$apt/archives" -o Dir::State::status="$apt/status" \
      -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=- -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
      -o Acquire::Check-Valid-Until=false -o APT::Install-Recommends=false -o APT::Sandbox::User=root "$@"
  }
  apt_13 update
  apt_13 --download-only -y install linux-image-cloud-amd64
  for package in "$apt"/archives/linux-image-*.deb; do
    dpkg -x "$package" "$1"
  done
}

build_base() {
  local uri
  read -r uri < <(debian_uris)
  say "building a Debian 12 with what the programs need"
  unshare --mount debootstrap --variant=minbase --include="$runtime_packages,$tool_packages" bookworm "$run/root" "$uri" \
    >"$run/debootstrap.log" 2>&1 || { tail -n 20 "$run/debootstrap.log" >&2; die "debootstrap failed"; }
  say "getting Debian 13's cloud kernel"
  get_kernel "$run/kernel"
  cp -a "$run/kernel/boot" "$run/root/"
  mkdir -p "$run/root/lib/modules"
  cp -a "$run"/kernel/*/lib/modules/. "$run/root/lib/modules/" 2>/dev/null || cp -a "$run/kernel/lib/modules/." "$run/root/lib/modules/"
  for modules in "$run"/root/lib/modules/*; do
    chroot "$run/root" depmod "$(basename "$modules")"
  done
  rm -f "$run"/root/var/cache/apt/archives/*.deb
  tar -C "$run/root" --numeric-owner --xattrs -cf "$run/base.tar" .
  mv "$run/base.tar" "$base"
  rm -rf --one-file-system "$run/root" "$run/kernel"
}

# The kernel's disk and file system are modules: a small first root loads them and goes on to the real one.
make_initrd() { # ROOT RELEASE
  local first=$run/first module path
  mkdir -p "$first"/{bin,proc,sys,dev,root,modules}
  cp /bin/busybox "$first/bin/busybox"
  local names=()
  for module in virtio_pci virtio_blk ext4; do
    while read -r _ path; do
      [[ $path == /* ]] || continue
      cp "$path" "$first/modules/"
      names+=("$(basename "$path")")
    done < <(modprobe -d "$1" -S "$2" --show-depends "$module" 2>/dev/null || true)
  done
  {
    echo '#!/bin/busybox sh'
    echo '/bin/busybox mount -t proc proc /proc; /bin/busybox mount -t sysfs sys /sys; /bin/busybox mount -t devtmpfs dev /dev'
    for module in "${names[@]}"; do
      case $module in
        *.xz) echo "/bin/busybox xz -dc /modules/$module > /m.ko; /bin/busybox insmod /m.ko 2>/dev/null" ;;
        *) echo "/bin/busybox insmod /modules/$module 2>/dev/null" ;;
      esac
    done
    echo 'while [ ! -b /dev/vda ]; do /bin/busybox usleep 10000; done'
    echo '/bin/busybox mount -t ext4 /dev/vda /root'
    echo 'exec /bin/busybox switch_root /root /sbin/machine-init'
  } >"$first/init"
  chmod 755 "$first/init"
  (cd "$first" && find . | cpio --quiet -o -H newc | gzip -1) >"$run/initrd"
}

[[ -f $base ]] || build_base
mkdir "$run/root"
tar -C "$run/root" --numeric-owner --xattrs -xf "$base"
work=$run/root/work/main
mkdir -p "$work/build/release" "$run/root/usr/local/lib" "$run/root/usr/local/bin"
git -C "$here" ls-files -z --cached --others --exclude-standard | tar -C "$here" --null -T - --ignore-failed-read -cf - 2>/dev/null |
  tar -C "$work" -xf -
cp -a "$here/build/release/bin" "$work/build/release/"
cp -a /usr/local/lib/stasis "$run/root/usr/local/lib/"
if docker=$(type -P docker); then cp "$docker" "$run/root/usr/local/bin/docker"; fi
kernel=$(basename "$run"/root/boot/vmlinuz-*)
release=${kernel#vmlinuz-}

printf '%q ' "$@" >"$run/root/machine-command"
cat >"$run/root/sbin/machine-init" <<'END'
#!/bin/bash
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
ln -sfn /proc/self/fd /dev/fd
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
sed 's/^/+/; s/ / +/g' /sys/fs/cgroup/cgroup.controllers >/sys/fs/cgroup/cgroup.subtree_control
for module in overlay veth bridge nf_tables tun inet_diag tcp_diag udp_diag unix_diag netlink_diag af_packet_diag; do
  modprobe "$module" 2>/dev/null
done
ip link set lo up
echo "kernel $(uname -r), $(cat /sys/fs/cgroup/cgroup.controllers)"
cd /work/main
mount --make-rshared /
bash -c "$(cat /machine-command)"
echo "machine-exit $?"
sync
echo o >/proc/sysrq-trigger
sleep 10
END
chmod 755 "$run/root/sbin/machine-init"
make_initrd "$run/root" "$release"
cp "$run/root/boot/$kernel" "$run/kernel"
size=$(du -sm "$run/root" | cut -f1)
mke2fs -q -t ext4 -d "$run/root" "$run/disk" "$((size + 3000))M"
rm -rf --one-file-system "$run/root"

say "booting $release"
set +e
# thread=single: with two, the kernel patches code under another CPU that emulation still runs (seen: "Oops: int3" in __schedule, when
# CRIU sets a breakpoint).
timeout --foreground "${STASIS_VM_SECONDS:-3000}" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -m 4096 -nographic -no-reboot \
  -nic none -kernel "$run/kernel" -initrd "$run/initrd" -append "console=ttyS0 quiet panic=-1 random.trust_cpu=on" \
  -drive "file=$run/disk,format=raw,if=virtio,cache=unsafe" </dev/null | tee "$run/console" | grep -v '^machine-exit'
status=$(sed -n 's/^machine-exit \([0-9]*\).*/\1/p' "$run/console" | tail -n 1)
exit "${status:-1}"
