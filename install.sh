#!/bin/bash
# Installs sitegen on Ubuntu 24.04+ or Debian 12+, from a clone or an unpacked release.
# May be interrupted and run again at any time: it upgrades in place and stops no site.
set -euo pipefail
shopt -s nullglob
umask 022
cd "$(dirname "$0")"

log=/var/log/sitegen-install.log
packages=(docker.io iproute2 nftables netcat-openbsd curl nodejs busybox-static util-linux haproxy nginx git openssh-client openssl ca-certificates)
# Where systemd looks for programs; a Node in somebody's home is none for units.
unit_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin

say() { echo "install: $*" >&2; }
fail() {
  say "error: $1"
  say "hint: $2"
  exit 1
}

usage() {
  cat <<'TEXT'
Usage: ./install.sh [--check] [--yes] [--zram]
       ./install.sh --uninstall [--purge] [--yes]
       ./install.sh --prefix DIR
  --check        only look whether it would work here, and what would be installed
  --yes          install missing packages, and with --purge delete, without asking
  --zram         have compressed swap in memory, too (package systemd-zram-generator)
  --uninstall    remove sitegen; sites must be removed first; settings and data stay
  --purge        delete settings, certificates and data that removed sites have left, too
  --prefix DIR   only copy the files below DIR, for packagers; needs no root and starts nothing
What it does is written to /var/log/sitegen-install.log.
TEXT
}

check=false yes=false zram=false uninstall=false purge=false prefix=''
wrong() { usage >&2; exit 2; }
while (($# > 0)); do
  case $1 in
    --check) check=true ;;
    --yes | -y) yes=true ;;
    --zram) zram=true ;;
    --uninstall) uninstall=true ;;
    --purge) purge=true ;;
    --prefix)
      [[ -n ${2:-} ]] || wrong
      prefix=$2
      shift
      ;;
    --help | -h) usage; exit 0 ;;
    *) wrong ;;
  esac
  shift
done
! $purge || $uninstall || wrong
if [[ -n $prefix ]] && { $check || $uninstall; }; then wrong; fi

# ask QUESTION: whether somebody at a terminal says yes, which is what is meant by just Enter.
ask() {
  local answer
  read -r -p "$1 [Y/n] " answer
  [[ ${answer:-y} == [yY]* ]]
}

# look: sets `missing` and prints what speaks against it; status 1 if it would not work.
missing=()
look() {
  local package version holders status=0
  bad() { say "error: $1"; say "hint: $2"; status=1; }
  good() { ! $check || say "ok: $1"; }

  local ID='' VERSION_ID='' PRETTY_NAME='this system'
  # shellcheck source=/dev/null
  . /etc/os-release
  case $ID-$VERSION_ID in
    debian-1[23] | ubuntu-24.04 | ubuntu-2[5-9].*) good "$PRETTY_NAME" ;;
    debian-[0-9] | debian-1[01] | ubuntu-[01]* | ubuntu-2[0-3].*) bad "$PRETTY_NAME is too old" 'Ubuntu 24.04, Debian 12 or later is needed' ;;
    *)
      if command -v apt-get >/dev/null; then
        say "warning: ${PRETTY_NAME:-this system} was never tried; Ubuntu 24.04+, Debian 12 and 13 are meant"
      else
        bad "${PRETTY_NAME:-this system} is not supported: it has no apt" 'Ubuntu 24.04, Debian 12 or later is needed'
      fi
      ;;
  esac
  if [[ -d /run/systemd/system ]]; then good 'booted with systemd'; else bad 'this machine was not booted with systemd' 'WSL1, chroots and plain containers are not supported; in WSL2 set systemd=true in /etc/wsl.conf'; fi
  if [[ -f /sys/fs/cgroup/cgroup.controllers ]]; then
    good 'cgroup v2'
    grep -qw memory /sys/fs/cgroup/cgroup.controllers || say 'warning: the kernel does not limit memory here (a container, or cgroup_disable=memory): limits of sites have no effect'
  else
    bad 'the kernel does not use cgroup v2 alone' 'boot with systemd.unified_cgroup_hierarchy=1'
  fi
  if PATH=$unit_path command -v dockerd >/dev/null; then
    good "Docker is there and stays as it is: $(dockerd --version 2>/dev/null || true)"
  elif [[ -e /snap/bin/docker || -e /snap/bin/docker.dockerd ]]; then
    bad 'Docker from snap is not supported: it reaches nothing outside its own folders' 'move its containers, then: snap remove docker'
  elif [[ $(dpkg-query -W -f '${db:Status-Status}' podman-docker 2>/dev/null) == installed ]]; then
    bad 'the docker command is that of Podman, which is not supported' 'apt-get remove podman-docker'
  fi
  if PATH=$unit_path command -v node >/dev/null; then
    version=$(PATH=$unit_path node -p process.versions.node)
    if [[ $(printf '%s\n' 18.19 "$version" | sort -V | head -1) == 18.19 ]]; then good "Node $version"; else bad "Node $version is too old" 'Node 18.19 or later is needed in /usr/bin or /usr/local/bin'; fi
  fi
  if [[ $(dpkg-query -W -f '${db:Status-Status}' sitegen 2>/dev/null) == installed ]]; then
    bad 'sitegen is here as a package of Debian' 'upgrade it with apt; or, to have this one instead, first: apt-get remove sitegen'
  fi
  if [[ ! -e /usr/lib/sitegen ]]; then
    holders=$(ss -Hltnp '( sport = :80 or sport = :443 )' 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)".*/\1/p' | grep -vx systemd | sort -u | paste -sd ' ' || true)
    [[ -z $holders ]] || say "warning: $holders has port 80 or 443; see \"Beside another web server\" in README.md"
  fi
  (($(df --output=avail -k /usr/lib | tail -1) > 100000)) || bad 'less than 100 MB are free in /usr/lib' 'make room there'
  [[ $(</proc/swaps) == *$'\n'/* ]] || $zram || say 'warning: there is no swap, and frozen sites keep all of their memory; --zram makes some'
  if [[ -f SHA256SUMS ]]; then
    if sha256sum --check --quiet --strict SHA256SUMS >&2; then good 'the files are those of the release'; else bad 'files of this release are damaged' 'unpack it again'; fi
  fi
  if [[ ! -f dist/sitegen.mjs && ! -d node_modules ]] && ! command -v npm >/dev/null; then
    bad 'dist/ is missing: this is a clone, not a release' 'build it on a machine with Node 20.19 or later: npm ci && npm run build; then copy the folder here'
  fi
  command -v docker >/dev/null || [[ -z $(apt-cache show docker-cli 2>/dev/null) ]] || packages+=(docker-cli)
  ! $zram || packages+=(systemd-zram-generator)
  for package in "${packages[@]}"; do
    [[ $package == docker.io ]] && PATH=$unit_path command -v dockerd >/dev/null && continue
    [[ $package == nodejs ]] && PATH=$unit_path command -v node >/dev/null && continue
    [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == 'install ok installed' ]] || missing+=("$package")
  done
  if ((${#missing[@]} > 0)); then say "packages to install: ${missing[*]}"; else good 'all packages are there'; fi
  return "$status"
}

get_packages() {
  local server servers=() installed=true
  # Debian starts servers as it installs them, and theirs would take port 80: ours are other units.
  for server in haproxy nginx; do
    # A mask until the next boot is one of ours that was interrupted.
    [[ " ${missing[*]} " != *" $server "* && $(systemctl is-enabled "$server.service" 2>/dev/null) != masked-runtime ]] || servers+=("$server.service")
  done
  ((${#missing[@]} + ${#servers[@]} > 0)) || return 0
  if ((${#missing[@]} > 0)); then
    if ! $yes; then
      [[ -t 0 ]] || fail 'packages are missing, and there is no terminal to ask on' 'repeat it with --yes'
      ask 'Install them now?' || exit 1
    fi
    ((${#servers[@]} == 0)) || systemctl mask --runtime --quiet "${servers[@]}"
    export DEBIAN_FRONTEND=noninteractive
    # Left by an installation that was interrupted.
    [[ -z $(dpkg --audit) ]] || dpkg --configure -a >&2
    # --no-remove: nothing that is there has to go for it, another Docker least of all.
    local install=(apt-get install -y --no-install-recommends --no-remove "${missing[@]}")
    "${install[@]}" >&2 || { say 'once more, with new package lists' && apt-get update >&2 && "${install[@]}" >&2; } || installed=false
  fi
  if ((${#servers[@]} > 0)); then
    systemctl unmask --runtime --quiet "${servers[@]}"
    systemctl disable --quiet "${servers[@]}" 2>/dev/null || true
  fi
  $installed || fail 'apt-get could not install them' 'see what it says above; then run install.sh again'
}

# build DIR: all that a version consists of.
build() {
  if [[ ! -f dist/sitegen.mjs ]]; then
    say 'building dist/'
    [[ -d node_modules ]] || npm ci --ignore-scripts --no-audit --no-fund >&2
    npm run --silent build >&2
  fi
  mkdir -p "$1"
  cp -r dist/. templates units LICENSE CHANGELOG.md "$1/"
  [[ ! -f sbom.cdx.json ]] || cp sbom.cdx.json "$1/"
  chmod -R u=rwX,go=rX "$1"
}

remove() {
  # With the program of the version that is to go, which knows its files.
  local setup=/usr/lib/sitegen/setup
  [[ -x $setup ]] || setup=scripts/setup.sh
  if [[ $(dpkg-query -W -f '${db:Status-Status}' sitegen 2>/dev/null) == installed ]]; then
    fail 'sitegen is here as a package of Debian' 'apt-get remove sitegen, or apt-get purge sitegen'
  fi
  if $purge && ! $yes; then
    [[ -t 0 ]] || fail 'there is no terminal to ask on' 'repeat it with --yes'
    ask 'Delete all settings, keys, certificates, and data and local backups of removed sites, for ever?' || exit 1
  fi
  if [[ -e /usr/lib/sitegen ]]; then "$setup" remove; else say 'sitegen is not installed'; fi
  ! $purge || scripts/deb/postrm purge all
}

main() {
  local staged
  if $uninstall; then
    remove
    return
  fi
  say "$(date '+%F %T'), sitegen $(sed -n 's/^  "version": "\(.*\)",/\1/p' package.json)"
  look || exit 1
  ! $check || { say 'it would work here'; return; }
  if ! $yes && ! $zram && [[ -t 0 && $(</proc/swaps) != *$'\n'/* ]] && ask 'There is no swap. Have compressed swap in memory?'; then
    zram=true missing+=(systemd-zram-generator)
  fi
  get_packages
  if $zram; then
    # What the package sets up by itself, half of the memory, is what is wanted here.
    systemctl daemon-reload
    systemctl start systemd-zram-setup@zram0.service || say 'warning: this kernel makes no zram device; see above. Sites work without it'
  fi
  command -v docker >/dev/null || say 'warning: the docker command is missing; "sitegen exec" needs it (package docker-cli)'
  staged=$(mktemp -d)
  # shellcheck disable=SC2064 # the value of now
  trap "rm -rf '$staged'" EXIT
  build "$staged"
  "$staged/setup" activate
  say 'done; add a site: sitegen add example.com'
}

if [[ -n $prefix ]]; then
  mkdir -p "$prefix"
  prefix=$(cd "$prefix" && pwd)
  build "$prefix/usr/share/sitegen"
  "$prefix/usr/share/sitegen/setup" files "$prefix"
  install -D -m 600 templates/sitegen.yaml "$prefix/etc/sitegen/sitegen.yaml"
elif $check; then
  main
else
  [[ $EUID == 0 ]] || fail 'must run as root' 'repeat it with sudo'
  # A lost terminal must not end it half-way.
  trap '' HUP
  main 2>&1 | tee --ignore-interrupts --output-error=warn-nopipe --append "$log" >&2
fi
