#!/bin/bash
# Installs sitegen on Ubuntu 24.04+ or Debian 12+, from a clone or an unpacked release.
# May be run again at any time: it upgrades in place and stops no site.
set -euo pipefail
shopt -s nullglob
umask 022
cd "$(dirname "$0")"

code=/usr/lib/sitegen
packages=(docker.io iproute2 nftables netcat-openbsd curl nodejs busybox-static util-linux haproxy nginx git openssh-client openssl ca-certificates)

say() { echo "install: $*" >&2; }
fail() {
  echo "install: error: $1" >&2
  echo "install: hint: $2" >&2
  exit 1
}

usage() {
  cat <<'EOF'
Usage: ./install.sh [--yes] [--uninstall]
  --yes        install missing packages without asking
  --uninstall  remove sitegen; sites must be removed first; settings and data stay
EOF
}

yes=false uninstall=false
for argument in "$@"; do
  case $argument in
    --yes | -y) yes=true ;;
    --uninstall) uninstall=true ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done

[[ $EUID == 0 ]] || fail 'must run as root' 'repeat it with sudo'
[[ -d /run/systemd/system ]] || fail 'this machine was not booted with systemd' 'sitegen needs it'

if $uninstall; then
  if compgen -G '/etc/sitegen/sites/*.yaml' >/dev/null; then
    fail 'there are sites' 'remove them first: sitegen list; sitegen remove DOMAIN'
  fi
  if grep -qs '^# Made by sitegen' /etc/systemd/system/{site-*.socket,sitegen-job@*.timer}; then
    fail 'there are units of sites whose settings are gone' 'remove them first: sitegen apply'
  fi
  for unit in units/sitegen-*.{timer,path,socket,service}; do
    [[ ! -f $unit || $unit == *@* ]] || systemctl disable --quiet --now "${unit##*/}" 2>/dev/null || true
  done
  nft delete table inet sitegen 2>/dev/null || true
  iptables -S DOCKER-USER 2>/dev/null | sed -n '/ sitegen0 -m conntrack --ctstate DNAT /s/^-A/-D/p' | while read -ra rule; do iptables "${rule[@]}" || true; done
  ip route flush table local proto boot type local dev lo root "$(sed -n 's/^SITES=//p' /var/lib/sitegen/network.env 2>/dev/null || echo 10.213.0.0/16)" 2>/dev/null || true
  [[ $(docker network inspect --format '{{index .Options "com.docker.network.bridge.name"}}' sitegen 2>/dev/null) != sitegen0 ]] || docker network rm sitegen >/dev/null 2>&1 || true
  rm -rf "$code" /usr/bin/sitegen /etc/systemd/system/{docker,nftables}.service.d/50-sitegen.conf \
    /etc/sysctl.d/60-sitegen.conf /usr/share/bash-completion/completions/sitegen /usr/share/zsh/vendor-completions/_sitegen \
    /usr/share/man/man8/sitegen.8 /usr/share/man/man5/sitegen.yaml.5 /var/lib/sitegen/network.{nft,env}
  for unit in units/*.{service,slice,socket,timer,path}; do rm -f "/etc/systemd/system/${unit##*/}"; done
  rm -rf /etc/systemd/system/sitegen-*.d
  # Copies of keys; what was accepted for sites stays.
  rm -rf /var/lib/sitegen/router
  for user in sitegen sitegen-router sitegen-responder; do userdel "$user" 2>/dev/null || true; done
  systemctl daemon-reload
  say 'sitegen is removed; /etc/sitegen and /var/lib/sitegen stay'
  exit 0
fi

. /etc/os-release
case ${ID:-}-${VERSION_ID:-} in
  debian-1[2-9] | ubuntu-2[4-9].* | debian-) ;;
  *) say "warning: ${PRETTY_NAME:-this system} was never tried; Ubuntu 24.04+ and Debian 12+ are meant" ;;
esac
[[ -f /sys/fs/cgroup/cgroup.controllers ]] || fail 'the kernel does not use cgroup v2 alone' 'boot with systemd.unified_cgroup_hierarchy=1'

# Where systemd looks for programs; a Node in somebody's home is none for units.
unit_path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
missing=()
for package in "${packages[@]}"; do
  [[ $package == docker.io ]] && command -v dockerd >/dev/null && continue
  [[ $package == nodejs ]] && PATH=$unit_path command -v node >/dev/null && continue
  [[ $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) == 'install ok installed' ]] || missing+=("$package")
done
if ((${#missing[@]} > 0)); then
  say "packages to install: ${missing[*]}"
  if ! $yes; then
    [[ -t 0 ]] || fail 'packages are missing, and there is no terminal to ask on' 'repeat it with --yes'
    read -r -p 'Install them now? [Y/n] ' answer
    [[ ${answer:-y} == [yY]* ]] || exit 1
  fi
  # Debian starts servers as it installs them, and theirs would take port 80: ours are other units.
  servers=()
  for server in haproxy nginx; do
    [[ " ${missing[*]} " != *" $server "* ]] || servers+=("$server.service")
  done
  ((${#servers[@]} == 0)) || systemctl mask --quiet "${servers[@]}"
  installed=true
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >&2 || installed=false
  if ((${#servers[@]} > 0)); then
    systemctl unmask --quiet "${servers[@]}"
    systemctl disable --quiet "${servers[@]}" 2>/dev/null || true
  fi
  $installed || fail 'apt-get could not install them' 'run apt-get update, then install.sh again'
fi
node_major=$(node -p 'process.versions.node.split(".")[0]')
((node_major >= 18)) || fail "Node $(node --version) is too old" 'Node 18.19 or later is needed'
command -v docker >/dev/null || say 'warning: the docker command is missing; "sitegen exec" needs it (package docker-cli)'

if [[ ! -f dist/sitegen.mjs || ! -f dist/man/sitegen.8 ]]; then
  command -v npm >/dev/null || fail 'dist/ is missing: this is a clone, not a release' \
    'build it on a machine with Node 20.19 or later: npm ci && npm run build; then copy the folder here'
  say 'building dist/'
  npm ci --ignore-scripts --no-audit --no-fund >&2
  npm run build >&2
fi

for user in sitegen sitegen-router sitegen-responder; do
  getent passwd "$user" >/dev/null || useradd --system --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin --user-group "$user"
done

say "installing to $code"
rm -rf "$code.new"
mkdir -p "$code.new"
cp -r dist/. templates units "$code.new/"
chmod -R u=rwX,go=rX "$code.new"
# Running wakes have the old files open; new ones find the new directory.
rm -rf "$code.old"
[[ ! -d $code ]] || mv "$code" "$code.old"
mv "$code.new" "$code"
rm -rf "$code.old"
cat >/usr/bin/sitegen <<'EOF'
#!/bin/sh
exec /usr/bin/env node /usr/lib/sitegen/sitegen.mjs "$@"
EOF
chmod 755 /usr/bin/sitegen

install -d -m 755 /etc/sitegen /etc/sitegen/sites /etc/sitegen/apps /var/lib/sitegen /var/lib/sitegen/{sites,router,router/maps}
install -d -m 700 /var/lib/sitegen/{certs,acme,backup,git,rehearsal} /etc/sitegen/keys
install -d -m 700 -o sitegen-router -g sitegen-router /var/lib/sitegen/router/certs
install -m 644 templates/example-site.yaml /etc/sitegen/example-site.yaml
[[ -f /etc/sitegen/sitegen.yaml ]] || install -m 600 templates/sitegen.yaml /etc/sitegen/sitegen.yaml
changed=()
for unit in sitegen-router.service sitegen-static.service; do
  cmp -s "units/$unit" "/etc/systemd/system/$unit" || changed+=("$unit")
done
install -m 644 units/*.{service,slice,socket,timer,path} /etc/systemd/system/
for unit in docker nftables; do
  install -D -m 644 "units/$unit.service.d/50-sitegen.conf" "/etc/systemd/system/$unit.service.d/50-sitegen.conf"
done
install -m 644 units/60-sitegen.conf /etc/sysctl.d/60-sitegen.conf
# As at boot: it knows that a "-" marks what some kernels and containers lack.
/usr/lib/systemd/systemd-sysctl /etc/sysctl.d/60-sitegen.conf || say 'warning: not all kernel limits could be raised; see above'
install -D -m 644 dist/completion/bash /usr/share/bash-completion/completions/sitegen
install -D -m 644 dist/completion/zsh /usr/share/zsh/vendor-completions/_sitegen
install -D -m 644 dist/man/sitegen.8 /usr/share/man/man8/sitegen.8
install -D -m 644 dist/man/sitegen.yaml.5 /usr/share/man/man5/sitegen.yaml.5

systemctl daemon-reload
# Its configuration is among the files that have just been replaced.
systemctl try-reload-or-restart sitegen-static.service
# While somebody asks it again and again, it does not end by itself, and parts of it are gone.
systemctl try-restart sitegen-responder.service
systemctl enable --quiet --now docker.service
systemctl enable --quiet sitegen-network.service sitegen-certs.service sitegen-watch-boot.service
# They wait for somebody who asks, and cost nothing until then.
for unit in units/sitegen-*.{socket,timer,path}; do
  # The idle timer is started by wakes.
  [[ ! -f $unit || $unit == *@* || $unit == */sitegen-router.socket || $unit == */sitegen-idle.timer ]] || systemctl enable --quiet --now "${unit##*/}"
done
# Made on first use otherwise; whoever runs the backup servers wants to know it.
/usr/bin/sitegen backup key >/dev/null || say 'warning: this server has no key for its backups; see above'
sitegen apply --quiet || say 'warning: not everything could be applied; mend what is named above, then run: sitegen apply'
# Connections wait in their sockets meanwhile.
((${#changed[@]} == 0)) || systemctl try-restart "${changed[@]}"
systemctl enable --quiet --now sitegen-shutdown.service
say 'done; add a site: sitegen add example.com'
