#!/bin/bash
# ExecStopPost= of a site's service: runs however the service ended, and stops the container.
set -u
export LC_ALL=C
began=${EPOCHREALTIME/./}
nft delete element inet sitegen held "{ $SITEGEN_SITE }" 2>/dev/null
# Those of the drain too: their ports may be used for other connections by now.
flows=$(nft list set inet sitegen held_flows 2>/dev/null |
  grep -oE "[0-9.]+ \. [0-9]+ \. ${SITEGEN_SITE//./\\.} timeout" | sed 's/ timeout//; $!s/$/,/')
[[ -z $flows ]] || nft -f - <<<"add element inet sitegen held_flows { $flows }
delete element inet sitegen held_flows { $flows }"
read -r container 2>/dev/null <"$SITEGEN_CIDFILE" || container=_ # no name that Docker allows
read -r _ status _ < <(exec nc.openbsd -U /run/docker.sock \
  <<<"POST /containers/$container/stop?t=$(((SITEGEN_STOP_MS + 999) / 1000)) HTTP/1.0"$'\r\n\r')
if [[ ${status:-} == 204 ]]; then
  echo "asleep: container stopped in $(((${EPOCHREALTIME/./} - began) / 1000)) ms"
else
  # It had ended by itself, or Docker does not answer: say which, and fail if it is a fault.
  exec node /usr/lib/sitegen/sleep.mjs "${status:-}"
fi
