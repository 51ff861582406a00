#!/bin/bash
# Prints the connections that are open to a site's public ports, as its container's kernel has them:
# those that were led there from outside have no end on this host. Run by drain.sh and sleep.sh.
set -u
for scope in "$SITEGEN_CGROUP"/*.scope; do
  read -r pid 2>/dev/null <"$scope/cgroup.procs" || continue
  # Established, with all said by the visitor, or by the container and not yet heard of (proc_pid_net(5)).
  awk -v listen="$SITEGEN_LISTEN" '
    BEGIN { count = split(listen, entries, " "); for (n = 1; n <= count; n++) { sub(/.*:/, "", entries[n]); ports[sprintf("%04X", entries[n])] } }
    { port = $2; sub(/.*:/, "", port) }
    port in ports && ($4 == "01" || $4 == "08" || $4 == "04") { print $3 }' "/proc/$pid/net/tcp" "/proc/$pid/net/tcp6"
  break
done
