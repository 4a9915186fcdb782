# shellcheck shell=bash
# The making of scripts/make-image: a root file system is staged, packed into layers with fixed order and times, and
# described as `docker save` does.

image_tag="" image_out=""
image_cmd='["sh"]' image_entrypoint=null image_user="" image_workdir="" image_extra_layers=0
image_env=("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
image_ports=() image_labels=() image_users=() image_directories=() image_copies=() image_paths=()

image_work=""
trap '[[ -z $image_work ]] || rm -rf -- "$image_work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

image_die() { echo "make-image: $*" >&2; exit 1; }

parse_image_options() {
  while [[ $# -gt 0 ]]; do
    [[ $1 == -- ]] && { shift; image_paths=("$@"); break; }
    [[ $# -ge 2 ]] || image_die "$1 wants a value"
    case $1 in
      --cmd) image_cmd=$2 ;;
      --entrypoint) image_entrypoint=$2 ;;
      --user) image_user=$2 ;;
      --workdir) image_workdir=$2 ;;
      --env) image_env+=("$2") ;;
      --expose) image_ports+=("$2") ;;
      --label) image_labels+=("$2") ;;
      --add-user) image_users+=("$2") ;;
      --dir) image_directories+=("$2") ;;
      --copy) image_copies+=("$2") ;;
      --extra-layers) image_extra_layers=$2 ;;
      --tag) image_tag=$2 ;;
      *) image_die "unknown option $1" ;;
    esac
    shift 2
  done
  [[ $image_tag == *:* ]] || image_tag+=:latest
}

# ---- the root file system ----

make_skeleton() {
  local root=$1 name
  mkdir -p "$root"/{usr/{bin,sbin,lib,lib64,local/bin,share},etc,dev,proc,sys,run,var/{lib,log,cache,tmp},home,mnt,opt,srv}
  for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
  ln -s /run "$root/var/run"
  mkdir -m 1777 "$root/tmp"
  chmod 1777 "$root/var/tmp"
  mkdir -m 0700 "$root/root"
  echo "127.0.0.1 localhost" >"$root/etc/hosts"
  printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
}

# A user of this machine as it is, or a new one with the next free number from 1000 on.
add_user() {
  local root=$1 name=$2 entry group next
  cut -d: -f1 "$root/etc/passwd" | grep -qx -- "$name" && return
  if entry=$(getent passwd "$name"); then
    group=$(getent group "$(cut -d: -f4 <<<"$entry")" || true)
    awk -F: -v OFS=: '{ $2 = "x"; print }' <<<"$entry" >>"$root/etc/passwd"
    [[ -z $group ]] || grep -qxF -- "$group" "$root/etc/group" || echo "$group" >>"$root/etc/group"
    return
  fi
  next=$(awk -F: '$3 >= 1000 && $3 < 60000 && $3 >= n { n = $3 + 1 } END { print n ? n : 1000 }' "$root/etc/passwd")
  echo "$name:x:$next:$next::/home/$name:/bin/sh" >>"$root/etc/passwd"
  echo "$name:x:$next:" >>"$root/etc/group"
  mkdir -m 0755 "$root/home/$name"
  chown "$next:$next" "$root/home/$name"
}

add_users() {
  local root=$1 name
  printf '%s\n' root:x:0:0:root:/root:/bin/sh daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin \
    www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin \
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin >"$root/etc/passwd"
  printf '%s\n' root:x:0: daemon:x:1: tty:x:5: www-data:x:33: nogroup:x:65534: >"$root/etc/group"
  for name in "${image_users[@]}"; do add_user "$root" "$name"; done
}

# Busybox, and a link for every applet, in /bin; what is there already stays.
add_busybox() {
  local root=$1 links=$image_work/applets
  [[ -x /bin/busybox ]] || image_die "/bin/busybox is missing: install busybox-static"
  mkdir -p "$links/bin"
  cp /bin/busybox "$links/bin/busybox"
  # The links lead to the program's own path, so it has to see itself where the image will have it.
  chroot "$links" /bin/busybox --install -s /bin
  cp -a --no-clobber -- "$links/bin/." "$root/usr/bin"
}

# Copies one path; through links, each of which is copied as it is. /lib/x is put where /lib leads: usr/lib/x.
copy_path() {
  local root=$1 path=$2 parent target
  [[ -e $path ]] || image_die "no such file: $path"
  parent=$(realpath -- "$(dirname -- "$path")")
  path=${parent%/}/$(basename -- "$path")
  [[ -e $root$path || -L $root$path ]] && [[ ! -d $path ]] && return
  mkdir -p "$root$parent"
  if [[ -L $path ]]; then
    cp -a -- "$path" "$root$path"
    target=$(readlink -- "$path")
    [[ $target == /* ]] || target=$parent/$target
    copy_path "$root" "$target"
  else
    cp -a -- "$path" "$root$parent/"
  fi
}

# Prints the libraries that programs and libraries need, the dynamic loader too.
libraries_of() {
  ldd "$@" 2>/dev/null |
    awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// && $1 !~ /:$/ { print $1 }' | sort -u
}

# Prints the ELF files at or below a path.
elf_files() {
  local file magic
  find -L "$1" -type f \( -perm -u+x -o -name '*.so*' -o -name '*.node' \) -print0 2>/dev/null |
    while IFS= read -r -d '' file; do
      IFS= read -r -N 4 magic <"$file" || true
      [[ $magic != $'\x7fELF' ]] || printf '%s\n' "$file"
    done
}

add_host_files() {
  local root=$1 path source
  local -a files=()
  for path in "${image_paths[@]}"; do
    [[ $path == /* ]] || image_die "want an absolute path: $path"
    copy_path "$root" "$path"
    mapfile -t -O "${#files[@]}" files < <(elf_files "$path")
  done
  for path in "${image_copies[@]}"; do
    source=${path%%:*} path=${path#*:}
    [[ -e $source && $path == /* ]] || image_die "--copy wants HOST:PATH: $source:$path"
    mkdir -p "$root${path%/*}"
    cp -a -- "$source" "$root$path"
    chown -R 0:0 "$root$path"
  done
  [[ ${#files[@]} -gt 0 ]] || return 0
  while read -r path; do copy_path "$root" "$path"; done < <(libraries_of "${files[@]}")
}

add_directories() {
  local root=$1 spec path user mode ids
  for spec in "${image_directories[@]}"; do
    IFS=: read -r path user mode <<<"$spec"
    ids=$(awk -F: -v user="${user:-root}" '$1 == user { print $3 ":" $4 }' "$root/etc/passwd")
    [[ $path == /* && -n $ids ]] || image_die "--dir $spec: want an absolute path and a user of the image"
    mkdir -p "$root$path"
    chown "$ids" "$root$path"
    chmod "${mode:-0755}" "$root$path"
  done
}

# ---- the archive ----

pack() {
  local directory=$1 out=$2
  shift 2
  tar -C "$directory" --create --file "$out" --format=posix --sort=name --mtime=@0 --numeric-owner \
    --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --xattrs "$@"
}

# A layer's directory in the archive is named by its digest. Prints the digest.
pack_layer() {
  local staged=$1 archive=$2 digest
  pack "$staged" "$archive/layer.tar" .
  digest=$(sha256sum "$archive/layer.tar" | cut -d' ' -f1)
  mkdir -p "$archive/$digest"
  mv "$archive/layer.tar" "$archive/$digest/layer.tar"
  echo "$digest"
}

json_string() {
  local text=$1
  text=${text//\\/\\\\} text=${text//\"/\\\"} text=${text//$'\n'/\\n} text=${text//$'\t'/\\t}
  printf '"%s"' "$text"
}

# Prints a JSON list of strings.
json_list() {
  local item separator=""
  printf '['
  for item; do
    printf '%s' "$separator"
    json_string "$item"
    separator=,
  done
  printf ']'
}

# Prints a JSON object from NAME=VALUE texts; a text without "=" gets {} for its value.
json_object() {
  local item separator=""
  printf '{'
  for item; do
    printf '%s' "$separator"
    json_string "${item%%=*}"
    printf ':'
    if [[ $item == *=* ]]; then json_string "${item#*=}"; else printf '{}'; fi
    separator=,
  done
  printf '}'
}

image_config() {
  local architecture=amd64
  [[ $(uname -m) == aarch64 ]] && architecture=arm64
  printf '{"architecture":"%s","os":"linux","created":"1970-01-01T00:00:00Z","config":{' "$architecture"
  printf '"Cmd":%s,"Entrypoint":%s,"Env":%s,' "$image_cmd" "$image_entrypoint" "$(json_list "${image_env[@]}")"
  printf '"User":%s,"WorkingDir":%s,' "$(json_string "$image_user")" "$(json_string "$image_workdir")"
  printf '"ExposedPorts":%s,"Labels":%s},' "$(json_object "${image_ports[@]}")" "$(json_object "${image_labels[@]}")"
  printf '"rootfs":{"type":"layers","diff_ids":%s}}' "$(json_list "${@/#/sha256:}")"
}

make_image() {
  [[ $EUID -eq 0 ]] || image_die "owners of files can only be kept as root"
  image_work=$(mktemp -d)
  local root=$image_work/root archive=$image_work/archive config i
  local -a layers=()
  mkdir -m 0755 "$root" "$archive"
  umask 022
  make_skeleton "$root"
  add_users "$root"
  add_host_files "$root"
  add_busybox "$root"
  add_directories "$root"
  layers+=("$(pack_layer "$root" "$archive")")
  for ((i = 1; i <= image_extra_layers; i++)); do
    mkdir -p "$image_work/extra-$i/layers"
    echo "$i" >"$image_work/extra-$i/layers/$i"
    layers+=("$(pack_layer "$image_work/extra-$i" "$archive")")
  done
  image_config "${layers[@]}" >"$archive/config.json"
  config=$(sha256sum "$archive/config.json" | cut -d' ' -f1).json
  mv "$archive/config.json" "$archive/$config"
  local -a paths=("${layers[@]/%//layer.tar}")
  printf '[{"Config":"%s","RepoTags":%s,"Layers":%s}]' "$config" "$(json_list "$image_tag")" \
    "$(json_list "${paths[@]}")" >"$archive/manifest.json"
  pack "$archive" "$image_work/image.tar" --owner=0 --group=0 --transform='s,^\./,,' .
  mv "$image_work/image.tar" "$image_out"
}
