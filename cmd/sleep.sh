#!/bin/bash
# ExecStopPost= of a site's service: runs however the service ended, and freezes the container, if
# that was asked for, or stops it. systemd starts the service again only when this is over, so no
# visitor meets a container half asleep.
set -u
export LC_ALL=C
began=${EPOCHREALTIME/./}
state=${SITEGEN_LOCK%.lock}
# The request names the very run of the service: a stale one must not freeze a later stop.
request='' cause=''
read -r request cause 2>/dev/null <"$state.freeze"
[[ ! -e $state.freeze ]] || rm -f "$state.freeze"
# One for a stop begins with "stop-", and has only the cause to tell.
[[ $request == *"$INVOCATION_ID" ]] || cause=''

# Tests have a visitor come at each single one, by a drop-in with this variable.
step() { [[ -z ${SITEGEN_AT_STEP:-} ]] || "$SITEGEN_AT_STEP" "$1"; }

# told TO TEXT FIELD…: one entry in the journal for the transition.
told() {
  local to=$1 text=$2 ms=$(((${EPOCHREALTIME/./} - began) / 1000))
  logger --journald <<EOT
MESSAGE=$text in $ms ms
MESSAGE_ID=5e4ad4a0a9f54b9c8e3f2d1c0b7a6958
SYSLOG_IDENTIFIER=sitegen-sleep
OBJECT_SYSTEMD_UNIT=$SITEGEN_UNIT
SITEGEN_DOMAIN=$SITEGEN_DOMAIN
SITEGEN_FROM=awake
SITEGEN_TO=$to
SITEGEN_CAUSE=${cause:-stop}
SITEGEN_MS=$ms
EOT
}
# Connections that the kernel has led past the splice: what is open at visitors' ends, and not at ours.
# Ours after theirs, or one that comes in between would seem to be one of those.
direct() {
  local theirs ours peer
  theirs=$(ss -Htn state established state close-wait state fin-wait-1 state fin-wait-2 dst "$SITEGEN_SITE:80" | awk '{ print $4 }')
  [[ -n $theirs ]] || return
  ours=" $(ss -Htn src "$SITEGEN_SITE:80" | awk '{ printf "%s ", $5 }')"
  for peer in $theirs; do [[ $ours == *" $peer "* ]] || echo "$peer"; done
}

step spliced
# From here on new connections wait in systemd's socket.
nft delete element inet sitegen awake "{ $SITEGEN_SITE . 80 }" 2>/dev/null
nft delete element inet sitegen held "{ $SITEGEN_SITE }" 2>/dev/null
for entry in ${SITEGEN_LISTEN:-}; do
  nft delete element inet sitegen public "{ ${entry%:*} }" 2>/dev/null
  nft delete element inet sitegen held_ports "{ ${entry%:*} }" 2>/dev/null
done
# Those of the drain too: their ports may be used for other connections by now.
flows=$(nft list set inet sitegen held_flows 2>/dev/null |
  grep -oE "[0-9.]+ \. [0-9]+ \. ${SITEGEN_SITE//./\\.} timeout" | sed 's/ timeout//; $!s/$/,/')
[[ -z $flows ]] || nft -f - <<<"add element inet sitegen held_flows { $flows }
delete element inet sitegen held_flows { $flows }"
step released

# Whoever comes after the look that found nobody has connections which a stop would cut: the next look
# sees them. Not so when others need what it holds, or sitegen is told to stop it, which takes the request away.
if [[ -n $request && ($request == "$INVOCATION_ID" || "$request $cause" == "stop-$INVOCATION_ID idle") && $SERVICE_RESULT == success ]] &&
  read -r populated 2>/dev/null <"$SITEGEN_CGROUP/cgroup.events" && [[ $populated == 'populated 1' ]]; then
  if [[ -n $(direct) || ( -n ${SITEGEN_LISTEN:-} && -n $(/usr/lib/sitegen/listened) ) ]]; then
    echo 'stays awake: a visitor came in the very moment'
    systemctl start --no-block "$SITEGEN_UNIT"
    exit 0
  fi
  if [[ $request == "$INVOCATION_ID" ]]; then
    if step unvisited && systemctl --quiet freeze "${SITEGEN_CGROUP##*/}"; then
      step frozen
      # Thaws it should somebody stop the container by Docker's own means.
      systemctl start --no-block sitegen-guard.service
      told frozen 'asleep: frozen'
    else
      echo '<4>stays awake: it could not be frozen'
      # What systemd has begun of it must not stay.
      systemctl --quiet thaw "${SITEGEN_CGROUP##*/}"
      systemctl start --no-block "$SITEGEN_UNIT"
    fi
    exit 0
  fi
fi

read -r container 2>/dev/null <"$SITEGEN_CIDFILE" || container=_ # no name that Docker allows
step stopping
what=container
if [[ $container == sitegen-process@* ]]; then
  what=program
  status=304
  if systemctl --quiet is-active "$container"; then
    status=
    ! systemctl --quiet stop "$container" || status=204
  fi
elif [[ -n ${SITEGEN_PROJECT:-} ]]; then
  # Several containers, in order. What it failed with is in the journal, and is found again below.
  status=$(node /usr/lib/sitegen/sleep.mjs project)
else
  read -r _ status _ < <(exec nc.openbsd -U /run/docker.sock \
    <<<"POST /containers/$container/stop?t=$(((SITEGEN_STOP_MS + 999) / 1000)) HTTP/1.0"$'\r\n\r')
fi
step stopped
# Whoever is left waits for a container that is gone, and would wait for minutes.
for peer in $(direct); do ss -K src "$peer" dst "$SITEGEN_SITE:80" &>/dev/null; done
if [[ ${status:-} == 204 ]]; then
  told asleep "asleep: $what stopped"
else
  # It had ended by itself, or does not end, or Docker does not answer: say which, and fail if it is a fault.
  exec node /usr/lib/sitegen/sleep.mjs "${status:-}"
fi
