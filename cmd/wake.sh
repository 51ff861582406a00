#!/bin/bash
# The shim of a site's service: starts the container, waits until it is ready, and becomes
# systemd-socket-proxyd on the socket that systemd holds. A normal wake needs nothing else;
# whatever is out of the ordinary is handed to wake.mjs. All values come from the unit.
set -u
export LC_ALL=C # a point, not a comma, in EPOCHREALTIME
code=/usr/lib/sitegen
began=${EPOCHREALTIME/./}
export SITEGEN_BEGAN_MS=$((began / 1000)) SITEGEN_MAIN_PID=$$

# A listening socket is readable when a connection waits in it.
if read -r -t 0 -u 3; then cause='a visitor'; else cause='systemctl start'; fi

exec {nap}<>/dev/udp/127.0.0.1/9 # never readable, so read -t sleeps without a process

# Prints the phases it took over; answers the visitors itself when it cannot help, and exits with 1.
# Whatever else ends it must not let systemd start the next try at once, again and again.
patient() {
  node "$code/wake.mjs" "$1" && return
  local code=$?
  ((code == 1)) || read -r -t 5 -u "$nap"
  exit "$code"
}

create_ms=0
# A container that went with connections open leaves the kernel asking for its address, once a
# second by default, and the first connection to the new one waits for the next time.
echo 20 2>/dev/null >/proc/sys/net/ipv4/neigh/sitegen0/retrans_time_ms
read -r container 2>/dev/null <"$SITEGEN_CIDFILE" || container=_ # no name that Docker allows
status=
# Something is in the lock's file while "sitegen apply" replaces the container.
if [[ ! -s $SITEGEN_LOCK ]]; then
  # nc is up in a fifth of curl's time. HTTP/1.0, so that Docker closes and nc ends.
  read -r _ status _ < <(exec nc.openbsd -U /run/docker.sock \
    <<<"POST /containers/$container/start HTTP/1.0"$'\r\n\r')
fi
case $status in
  204 | 304) start_ms=$(((${EPOCHREALTIME/./} - began) / 1000)) ;;
  *)
    phases=$(patient start) || exit
    read -r create_ms start_ms <<<"$phases"
    ;;
esac

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
  [[ $answer == [1-4][0-9][0-9] ]]
}
# Connecting to a container that has ended takes three seconds to fail.
alive() { read -r populated <"$SITEGEN_CGROUP/cgroup.events" && [[ $populated == 'populated 1' ]]; } 2>/dev/null
until alive && ready; do
  if ! alive || ((${EPOCHREALTIME/./} - started > 2000000)); then
    patient ready >/dev/null
    break
  fi
  read -r -t 0.005 -u "$nap"
done
exec {nap}<&-
now=${EPOCHREALTIME/./}
echo "awake: woken by $cause; create $create_ms ms, start $start_ms ms, ready $(((now - started) / 1000)) ms, total $(((now - began) / 1000)) ms"

# In the background, and nobody's child. socket-proxyd says that it is ready itself, but not yet in
# systemd 252. A container that ended in the very last moment could not stop this unit while it was
# being started.
(
  systemd-notify --ready
  # Here and not by Wants=, for which systemd would keep two more units in memory for each sleeping site.
  [[ -z ${SITEGEN_DUMP:-} ]] || systemctl start --no-block "$SITEGEN_DUMP.timer"
  alive || systemctl stop --no-block "$SITEGEN_UNIT"
) &

# From here on nothing needs root.
exec setpriv --reuid=sitegen --regid=sitegen --clear-groups --inh-caps=-all --bounding-set=-all \
  /usr/lib/systemd/systemd-socket-proxyd --connections-max=10000 "$SITEGEN_ADDRESS:$SITEGEN_PORT"
