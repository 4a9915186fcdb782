# shellcheck shell=bash
# For scripts that get something from a Debian archive.

# Prints where this machine gets its Debian from, best first, then Debian's own address: a mirror of one suite has the
# others too. apt itself is asked, since a source may be in either of two formats; other vendors' sources may look alike,
# so there may be several.
debian_uris() {
  local codename
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  # shellcheck disable=SC2016 # these are apt's variables
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
    awk -v codename="$codename" '($1 == codename || $1 == "stable") && $2 == "main" && !seen[$3]++ { print $3 }'
  echo http://deb.debian.org/debian
}
