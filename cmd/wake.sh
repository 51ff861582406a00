#!/bin/bash
# The shim of a site's service: thaws or starts the container, waits until it is ready, and becomes
# systemd-socket-proxyd on the socket that systemd holds. A normal wake needs nothing else;
# whatever is out of the ordinary is handed to wake.mjs. All values come from the unit.
set -u
export LC_ALL=C # a point, not a comma, in EPOCHREALTIME
code=/usr/lib/sitegen
state=${SITEGEN_LOCK%.lock}
began=${EPOCHREALTIME/./}
export SITEGEN_BEGAN_MS=$((began / 1000)) SITEGEN_MAIN_PID=$$

# systemd hands over the sockets of public ports in any order among its own, which is to be the first.
ports=()
if ((${LISTEN_FDS:-1} > 1)); then
  IFS=: read -ra names <<<"$LISTEN_FDNAMES"
  for ((own = 0; own < LISTEN_FDS - 1; own++)); do [[ ${names[own]} == listen-* ]] || break; done
  eval "exec {spare}<&3 3<&$((3 + own)) $((3 + own))<&\$spare {spare}<&-"
  names[own]=${names[0]}
  ports=("${names[@]:1}") # as listen-25-2525, for descriptor 4 and on
fi

# A listening socket is readable when a connection waits in it.
cause='systemctl start'
for ((fd = 3; fd <= 3 + ${#ports[@]}; fd++)); do ! read -r -t 0 -u "$fd" || cause='a visitor'; done

exec {nap}<>/dev/udp/127.0.0.1/9 # never readable, so read -t sleeps without a process

# Prints the phases it took over; answers the visitors itself when it cannot help, and ends with 75.
# Whatever else ends it, be it a fault of its own, must not let systemd start the next try at once,
# again and again.
patient() {
  node "$code/wake.mjs" "$1" && return
  (($? == 75)) || read -r -t 5 -u "$nap"
  exit 1
}
# Connecting to a container that has ended takes three seconds to fail. Of a project that one which
# visitors reach has a group of its own.
alive() { read -r populated <"${SITEGEN_ENTRY:-$SITEGEN_CGROUP}/cgroup.events" && [[ $populated == 'populated 1' ]]; } 2>/dev/null

# Lines up behind other sites that start, so that no more do at once than the machine bears.
admit() {
  local slots=2 slot queue turn
  read -r slots 2>/dev/null </var/lib/sitegen/starts
  exec {queue}>>/run/sitegen/starts/queue || {
    reserve
    return
  }
  flock "$queue"
  while :; do
    for ((slot = 0; slot < slots; slot++)); do
      exec {turn}>>"/run/sitegen/starts/$slot"
      ! flock --nonblock "$turn" || break 2
      exec {turn}>&-
    done
    read -r -t 0.02 -u "$nap"
  done
  # As long as nobody else is admitted, so that the next one counts what this one will take.
  reserve
  exec {queue}>&-
  admitted=$turn
}
release() {
  [[ -z ${admitted:-} ]] || exec {admitted}>&-
  admitted=
}

# What it will take: what it held at most when it last ran, or, where nobody knows, an eighth of what all
# may hold. Written down until it is ready, as those that start meanwhile would count on the same memory;
# and what those take that came before, as far as they do not hold it yet. Built-ins alone.
budget='' zram=100 need=0 reserved=0 reservation=/run/sitegen/starts/need.${state##*/}
reserve() {
  local site=${SITEGEN_CGROUP%/*} most file bytes group pid held
  read -r budget zram </run/sitegen/budget || return
  if ! read -r need <"$state.memory"; then
    need=$((budget / 8))
    read -r most <"$site/memory.max" && [[ $most != max ]] && ((most < need)) && need=$most
  fi
  for file in "${reservation%/*}"/need.*; do
    [[ -s $file && $file != "$reservation" ]] || continue
    read -r bytes pid group <"$file"
    # Its wake was killed.
    [[ -e /proc/$pid ]] || continue
    held=0
    read -r held <"$group/memory.current"
    ((held >= bytes)) || ((reserved += bytes - held))
  done
  echo "$need $$ $site" >"$reservation"
} 2>/dev/null

# Has others make room where the site would not fit beside them and those that start. No process while
# all fits, and nothing where the kernel does not count memory.
make_room() {
  local all=${SITEGEN_CGROUP%/*/*} held swapped=0 takes=$((need + reserved)) stat before
  [[ -n $budget ]] && read -r held <"$all/memory.current" || return
  # What is in swap is still in memory to this part where it is zram.
  read -r swapped <"$all/memory.swap.current"
  ((swapped = swapped * ${zram:-100} / 100))
  ((held + swapped + takes > budget)) || return
  # Without file pages that the kernel can read again, as the rounds of the idle timer count.
  read -r -d '' stat <"$all/memory.stat"
  [[ $stat =~ inactive_file\ ([0-9]+) ]] && ((held -= BASH_REMATCH[1]))
  ((held + swapped + takes > budget)) || return
  before="they held $((held + swapped)) of $budget bytes, and it takes $need"
  ((reserved == 0)) || before+=", those that start with it $reserved"
  if timeout 5 systemctl start "sitegen-room@$need:$reserved:${state##*/}.service"; then
    echo "memory is short, so others have made room: $before"
  else
    echo "memory is short, and it starts before others have made room: $before"
  fi
} 2>/dev/null

# It failed a moment ago, and is not tried again for each visitor.
if [[ $cause == 'a visitor' && -e $state.failed ]]; then
  read -r _ until 2>/dev/null <"$state.failed" || until=0
  ((began / 1000 >= until)) || patient refuse
fi

# Its data takes more room than it may, or did at the last look.
[[ ! -e $state.full ]] || patient full

# Names that it may reach outside may have other addresses by now. The file's first line says whether it has any.
if read -r egress 2>/dev/null <"/var/lib/sitegen/egress/${state##*/}.nft" && [[ $egress == *'"names":{"'* ]]; then
  # Nobody's child, and not waited for.
  (systemctl start --no-block "sitegen-egress@${state##*/}.service" &)
fi

wait_ms=0 create_ms=0 from=asleep
# Something is in the lock's file while "sitegen apply" replaces the container, or somebody stops it, and
# nothing names one whose installation was cut short.
if [[ ! -s $SITEGEN_LOCK && -s $SITEGEN_CIDFILE ]] && alive; then
  from=running
  # systemd froze them, and is told of it below: its own thaw takes ten times as long.
  for file in "$SITEGEN_CGROUP"/cgroup.freeze "$SITEGEN_CGROUP"/*/cgroup.freeze "$SITEGEN_CGROUP"/*-entry.slice/*/cgroup.freeze; do
    read -r frozen 2>/dev/null <"$file" || continue
    [[ $frozen == 1 ]] || continue
    from=frozen
    echo 0 >"$file"
  done
  start_ms=$(((${EPOCHREALTIME/./} - began) / 1000))
else
  # A slice without anything in it is one whose container was killed while it was frozen.
  [[ ! -e $SITEGEN_CGROUP ]] || systemctl --quiet thaw "${SITEGEN_CGROUP##*/}"
  admit
  make_room
  wait_ms=$(((${EPOCHREALTIME/./} - began) / 1000))
  # A container that went with connections open leaves the kernel asking for its address, once a
  # second by default, and the first connection to the new one waits for the next time.
  echo 20 2>/dev/null >/proc/sys/net/ipv4/neigh/sitegen0/retrans_time_ms
  read -r container 2>/dev/null <"$SITEGEN_CIDFILE" || container=_ # no name that Docker allows
  status=
  # A project's containers are started in order, which the patient part does.
  if [[ ! -s $SITEGEN_LOCK && $container == sitegen-process@* ]]; then
    # A program without a container. What keeps it from starting the patient part finds out.
    systemctl --quiet start "$container" 2>/dev/null && status=204
  elif [[ ! -s $SITEGEN_LOCK && -z ${SITEGEN_PROJECT:-} ]]; then
    # nc is up in a fifth of curl's time. HTTP/1.0, so that Docker closes and nc ends.
    read -r _ status _ < <(exec nc.openbsd -U /run/docker.sock \
      <<<"POST /containers/$container/start HTTP/1.0"$'\r\n\r')
  fi
  case $status in
    204 | 304) start_ms=$(((${EPOCHREALTIME/./} - began) / 1000 - wait_ms)) ;;
    *)
      release
      phases=$(patient start) || exit
      read -r create_ms start_ms <<<"$phases"
      ;;
  esac
fi

# Never before Docker's start has returned: the early connect would wait for ARP.
started=${EPOCHREALTIME/./}
ready() {
  { exec {peer}<>"/dev/tcp/$SITEGEN_ADDRESS/$SITEGEN_PORT"; } 2>/dev/null || return 1
  local answer=200
  if [[ -n $SITEGEN_READY_PATH ]]; then
    printf 'GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n' "$SITEGEN_READY_PATH" "$SITEGEN_DOMAIN" >&"$peer"
    read -r -t 2 _ answer _ <&"$peer" || answer=599
  fi
  exec {peer}<&-
  for port in "${ports[@]}"; do
    { exec {peer}<>"/dev/tcp/$SITEGEN_ADDRESS/${port##*-}"; } 2>/dev/null || return 1
    exec {peer}<&-
  done
  [[ $answer == [1-4][0-9][0-9] ]]
}
# What was frozen was ready before.
until { [[ $from == frozen ]] && alive; } || { alive && ready; }; do
  if ! alive || ((${EPOCHREALTIME/./} - started > 2000000)); then
    release
    patient ready >/dev/null
    break
  fi
  read -r -t 0.005 -u "$nap"
done
# Has the kernel send new connections to its public ports to the container itself.
lead() {
  local port public inside
  "$code/let-in" || return
  for port in "${ports[@]}"; do
    IFS=- read -r _ public inside <<<"$port"
    nft add element inet sitegen public "{ $public : $SITEGEN_ADDRESS . $inside }" || return
  done
}
release
[[ ! -e $reservation ]] || : >"$reservation"
now=${EPOCHREALTIME/./}
total_ms=$(((now - began) / 1000))

# In the background, and nobody's child. socket-proxyd says that it is ready itself, but not yet in
# systemd 252. A container that ended in the very last moment could not stop this unit while it was
# being started.
(
  # On a machine of few processors its programs would have visitors wait for the splice.
  read -r -t 0.03 -u "$nap"
  exec {nap}<&-
  logger --journald <<EOT &
MESSAGE=awake: woken by $cause, was $from; wait $wait_ms ms, create $create_ms ms, start $start_ms ms, ready $(((now - started) / 1000)) ms, total $total_ms ms
MESSAGE_ID=5e4ad4a0a9f54b9c8e3f2d1c0b7a6958
SYSLOG_IDENTIFIER=sitegen-wake
OBJECT_SYSTEMD_UNIT=$SITEGEN_UNIT
SITEGEN_DOMAIN=$SITEGEN_DOMAIN
SITEGEN_FROM=$from
SITEGEN_TO=awake
SITEGEN_CAUSE=$cause
SITEGEN_MS=$total_ms
SITEGEN_PHASES=wait=$wait_ms create=$create_ms start=$start_ms ready=$(((now - started) / 1000))
EOT
  systemd-notify --ready
  rm -f "$state.failed" "$reservation"
  # From here on the kernel sends new connections to the container itself.
  nft add element inet sitegen awake "{ $SITEGEN_SITE . 80 : $SITEGEN_ADDRESS . $SITEGEN_PORT }" ||
    {
      echo 'the rules of the sites are gone: visitors go through the splices until sitegen-idle.service has put them back'
      systemctl start --no-block sitegen-idle.service
    }
  ((${#ports[@]} == 0)) || lead || echo 'clients of its ports go through the splices, and seem to come from this host'
  # Here and not by Wants=, for which systemd would keep two more units in memory for each sleeping site.
  # A dump's timer pulls in this unit, which must not take the place of a stop that has begun meanwhile.
  systemctl start --no-block --job-mode=fail sitegen-idle.timer ${SITEGEN_DUMP:+"$SITEGEN_DUMP.timer"}
  [[ $from != frozen ]] || systemctl --quiet thaw "${SITEGEN_CGROUP##*/}"
  alive || systemctl stop --no-block "$SITEGEN_UNIT"
) &
exec {nap}<&-

# From here on nothing needs root.
splice() {
  exec setpriv --reuid=sitegen --regid=sitegen --clear-groups --inh-caps=-all --bounding-set=-all \
    /usr/lib/systemd/systemd-socket-proxyd --connections-max=10000 "$SITEGEN_ADDRESS:$1"
}
# Each port has a splice of its own, which says nothing to systemd: the unit is what the first one is.
((${#ports[@]} == 0)) || export LISTEN_FDS=1 LISTEN_FDNAMES=site
for ((fd = 4; fd < 4 + ${#ports[@]}; fd++)); do
  (
    eval "exec 3<&$fd"
    for ((other = 4; other < 4 + ${#ports[@]}; other++)); do eval "exec $other<&-"; done
    unset NOTIFY_SOCKET
    export LISTEN_PID=$BASHPID
    splice "${ports[fd - 4]##*-}"
  ) &
done
for ((fd = 4; fd < 4 + ${#ports[@]}; fd++)); do eval "exec $fd<&-"; done
splice "$SITEGEN_PORT"
