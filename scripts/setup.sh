#!/bin/bash
# Puts the version of sitegen that it is a part of in force, or takes sitegen away. install.sh and
# Debian's package call it.
#
# Each version has a folder of its own, and a link says which one is in force. So a program that was
# started before an upgrade finds its own parts until its end, the change is one rename(2), and the
# version before is there to go back to.
set -euo pipefail
shopt -s nullglob
umask 022

here=$(dirname "$(readlink -f "$0")")

say() { echo "sitegen: $*" >&2; }
fail() {
  say "error: $1"
  say "hint: $2"
  exit 1
}

usage() {
  cat <<'TEXT'
Usage: setup activate | remove | files ROOT
  activate    put this version in force; goes back to the one before when it does not work
  remove      take sitegen away; sites must be removed first; settings and data stay
  files ROOT  only copy what is outside its folder below ROOT, for packagers
TEXT
}

# shellcheck source-path=SCRIPTDIR source=setup-files.sh
source "$here/setup-files.sh"

booted() { [[ -d /run/systemd/system ]]; }

disable() {
  ! booted || systemctl stop --quiet "$1" 2>/dev/null || true
  systemctl disable --quiet "$1" 2>/dev/null || true
  # Of a unit whose file dpkg has removed before.
  rm -f /etc/systemd/system/*.wants/"$1"
}

# Units that have to work after an upgrade if they do before; `broken` are those that do not. Some timers come and go with sites.
at_work() {
  ! booted || systemctl list-units --state=active --plain --no-legend 'site-*.socket' 'sitegen-*.socket' 'sitegen-*.path' 'sitegen-*.timer' sitegen-router.service |
    awk '$1 !~ /^sitegen-(idle\.timer|mail|dump@|push@|job@)/ { print $1 }'
}

broken() { comm -23 <(sort <<<"$before") <(at_work | sort); }

# serves UNIT: whether somebody would lose a connection by its restart. Says too much rather than too little.
serves() {
  case $1 in
    sitegen-router.service) [[ -n $(ss -Htn state established '( sport = :80 or sport = :443 )') ]] ;;
    sitegen-static.service) ss -Hx state established | grep -q ' /run/sitegen/static\.sock ' ;;
  esac
}

# restart_changed OLD NEW: what still runs as its unit of OLD says. New connections wait in sockets meanwhile.
restart_changed() {
  local unit
  for unit in sitegen-router.service sitegen-static.service; do
    if cmp -s "$1/units/$unit" "$2/units/$unit" || ! systemctl is-active --quiet "$unit"; then
      continue
    elif serves "$unit"; then
      say "$unit has changed and serves somebody just now; what has changed is in force from its next start: systemctl restart $unit"
    else
      systemctl restart "$unit"
    fi
  done
}

enable_units() {
  local unit
  # --force: the links of a version whose units were elsewhere.
  systemctl enable --quiet --force sitegen-network.service sitegen-certs.service sitegen-watch-boot.service sitegen-shutdown.service
  # They wait for somebody who asks, and cost nothing until then.
  for unit in "$1"/units/sitegen-*.{socket,timer,path}; do
    # The idle timer is started by wakes, router and mail by apply; what an admin has masked stays so.
    [[ $unit == *@* || $unit == */sitegen-router.socket || $unit == */sitegen-idle.timer || $unit == */sitegen-mail* ]] ||
      [[ $(readlink "/etc/systemd/system/${unit##*/}") == /dev/null ]] || printf '%s\0' "${unit##*/}"
  done | xargs -0 systemctl enable --quiet --force ${2:+"$2"}
}

# start OLD NEW: has what runs take up the files of the version in the folder NEW.
start() {
  systemctl daemon-reload
  # As at boot: it knows that a "-" marks what some kernels and containers lack.
  /usr/lib/systemd/systemd-sysctl /usr/lib/sysctl.d/60-sitegen.conf || say 'warning: not all kernel limits could be raised; see above'
  # Its configuration is among the files that have just been replaced.
  systemctl try-reload-or-restart sitegen-static.service
  # While somebody asks it again and again, it does not end by itself, and parts of it are gone.
  systemctl try-restart sitegen-responder.service
  systemctl enable --quiet --now docker.service
  enable_units "$2" --now
  # Made on first use otherwise; whoever runs the backup servers wants to know it.
  /usr/bin/sitegen backup key >/dev/null || say 'warning: this server has no key for its backups; see above'
  /usr/bin/sitegen apply --quiet || say 'warning: not everything could be applied; mend what is named above, then run: sitegen apply'
  [[ -z $1 ]] || restart_changed "$1" "$2"
  systemctl start sitegen-shutdown.service
}

# Before anything is changed: what can be known of a version that would not work here.
examine() {
  local version said
  version=$(node "$here/sitegen.mjs" --version) || fail 'this version does not run here; nothing was changed' "look at what is said above; Node here is $(node --version 2>&1)"
  [[ $version == "$(<"$here/VERSION")" ]] || fail "its files are of several versions ($version); nothing was changed" 'unpack the release again'
  if [[ -e $code/sitegen.mjs ]] && ! said=$(SITEGEN_TEMPLATES=$here/templates node "$here/sitegen.mjs" validate 2>&1) && sitegen validate >/dev/null 2>&1; then
    echo "$said" >&2
    fail 'this version does not take settings that the one in force takes; nothing was changed' 'correct what is named above, and repeat it'
  fi
}

previous='' before='' switching=''
activate() {
  local unit
  exec 9>/run/sitegen-setup.lock
  flock -n 9 || fail 'another installation is at work' 'wait for its end'
  examine
  accounts_and_folders
  copy_version
  from_one_folder
  [[ ! -L $code ]] || previous=$versions/$(basename "$(readlink "$code")")
  [[ -d $previous ]] || previous=''
  before=$(at_work)
  trap 'end $?' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  switching=1
  place "$target" ''
  [[ -z $previous ]] || { touch "$previous"; drop "$previous" "$target"; }
  link "$target"
  if booted; then
    start "$previous" "$target"
    for unit in $(broken); do
      [[ ! -e /etc/systemd/system/$unit && ! -e /usr/lib/systemd/system/$unit ]] || fail "$unit does not work any more" "journalctl -u $unit"
    done
  else
    enable_units "$target"
  fi
  switching=''
  # Jobs of sites may run for three days, with parts of the version that they began with.
  find "$versions" -mindepth 1 -maxdepth 1 ! -path "$target" ! -path "${previous:-$target}" -mtime +3 -exec rm -rf {} +
}

# end STATUS: an upgrade that has failed or was interrupted goes back.
end() {
  local unit
  [[ -n $switching ]] || exit "$1"
  trap '' INT TERM
  set +e
  if [[ -z $previous ]]; then
    say 'it does not work; what was installed is taken away again'
    take_away
  elif [[ $previous == "$target" ]]; then
    say "it does not work; $target is in force as before"
  else
    say "it does not work; going back to $(cat "$previous/VERSION" 2>/dev/null || echo 'the version before')"
    drop "$target" "$previous"
    place "$previous" ''
    link "$previous"
    if booted; then
      start "$target" "$previous"
      for unit in $(broken); do systemctl restart "$unit"; done
    fi
  fi
  exit "$(($1 == 0 ? 1 : $1))"
}

unused() {
  if compgen -G '/etc/sitegen/sites/*.yaml' >/dev/null; then
    fail 'there are sites' 'remove them first: sitegen list; sitegen remove DOMAIN'
  fi
  if grep -qs '^# Made by sitegen' /dev/null /etc/systemd/system/{site-*.socket,sitegen-job@*.timer}; then
    fail 'there are units of sites whose settings are gone' 'remove them first: sitegen apply'
  fi
}

take_away() {
  local unit user
  for unit in "$here"/units/sitegen-*.{timer,path,socket,service}; do
    [[ $unit == *@* ]] || disable "${unit##*/}"
  done
  # Made by "sitegen apply".
  disable sitegen-mail.socket
  rm -f /etc/systemd/system/sitegen-mail.socket
  nft delete table inet sitegen 2>/dev/null || true
  iptables -S DOCKER-USER 2>/dev/null | sed -n '/ sitegen0 -m conntrack --ctstate DNAT /s/^-A/-D/p' | while read -ra rule; do iptables "${rule[@]}" || true; done || true
  ip route flush table local proto boot type local dev lo root "$(sed -n 's/^SITES=//p' /var/lib/sitegen/network.env 2>/dev/null || echo 10.213.0.0/16)" 2>/dev/null || true
  [[ $(docker network inspect --format '{{index .Options "com.docker.network.bridge.name"}}' sitegen 2>/dev/null) != sitegen0 ]] || docker network rm sitegen >/dev/null 2>&1 || true
  outside "$here" | cut -f2 | xargs -d '\n' rm -f
  rmdir --ignore-fail-on-non-empty /usr/lib/systemd/system/{docker,nftables}.service.d 2>/dev/null || true
  rm -rf /etc/systemd/system/sitegen-*.d /var/lib/sitegen/network.{nft,env} /var/lib/sitegen/egress
  # Copies of keys; what was accepted for sites stays.
  rm -rf /var/lib/sitegen/router
  for user in "${users[@]}"; do userdel "$user" 2>/dev/null || true; done
  ! booted || systemctl daemon-reload
  rm -rf "$code" "$code".{new,old} "$versions"
}

case ${1:-} in
  activate)
    [[ $EUID == 0 ]] || fail 'must run as root' 'repeat it with sudo'
    activate
    ;;
  remove)
    [[ $EUID == 0 ]] || fail 'must run as root' 'repeat it with sudo'
    unused
    take_away
    say 'sitegen is removed; /etc/sitegen and /var/lib/sitegen stay'
    ;;
  files) place "$here" "${2:?}" ;;
  *) usage >&2; exit 2 ;;
esac
