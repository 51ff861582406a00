#!/bin/bash
# ExecStop= of a site's service: lets requests in flight finish before systemd ends the splice.
# New connections are dropped at their first packet meanwhile; their clients send it again, and
# then it waits in systemd's socket. sleep.sh lets them in.
set -u
[[ -n ${MAINPID:-} ]] || exit 0
# Tests have a visitor come at each single one, by a drop-in with this variable.
step() { [[ -z ${SITEGEN_AT_STEP:-} ]] || "$SITEGEN_AT_STEP" "$1"; }
step drain
# Without its container there is nothing that could still answer.
read -r populated 2>/dev/null <"${SITEGEN_ENTRY:-$SITEGEN_CGROUP}/cgroup.events" && [[ $populated == 'populated 1' ]] || exit 0
# A site that is only to be frozen goes on answering: while the splice has no connection, and the
# kernel sends no new one to it, it can end unseen. sleep.sh does the rest.
if read -r request 2>/dev/null <"${SITEGEN_LOCK%.lock}.freeze" && [[ $request == "$INVOCATION_ID"* ]] &&
  nft get element inet sitegen awake "{ $SITEGEN_SITE . 80 }" &>/dev/null &&
  [[ -z $(ss -Htn state established state close-wait state syn-recv src "$SITEGEN_SITE:80") ]] &&
  [[ -z ${SITEGEN_LISTEN:-} || -z $(/usr/lib/sitegen/listened) ]]; then
  exit 0
fi
# For as long as what comes until the splice ends may take: the drain, and a dump of what came late.
limit=${SITEGEN_DUMP_LIMIT:-0s}
nft add element inet sitegen held "{ $SITEGEN_SITE timeout $((SITEGEN_STOP_MS / 1000 + ${limit%s} + 20))s }"
for entry in ${SITEGEN_LISTEN:-}; do
  nft add element inet sitegen held_ports "{ ${entry%:*} timeout $((SITEGEN_STOP_MS / 1000 + ${limit%s} + 20))s }"
  nft delete element inet sitegen public "{ ${entry%:*} }" 2>/dev/null
done
# Their kernel sends them again once the container is gone, and then they must not be led to it.
nft delete element inet sitegen awake "{ $SITEGEN_SITE . 80 }" 2>/dev/null
step held
busy=$(ss -Htn state established state close-wait state syn-recv state fin-wait-1 state fin-wait-2 \
  "( src $SITEGEN_SITE:80 or dst $SITEGEN_SITE:80 )")
[[ -n $busy || -z ${SITEGEN_LISTEN:-} ]] || busy=$(/usr/lib/sitegen/listened)
[[ -z $busy ]] || exec node /usr/lib/sitegen/drain.mjs
