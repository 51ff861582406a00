#!/bin/bash
# ExecStop= of a site's service, before the drain and after it: dumps and commits what visitors
# left, while the container still runs. The first time the site is reachable, so that nobody waits
# for the dump; the second time, while connections are held, only if somebody came meanwhile.
# A failure keeps nobody: nothing is deleted, the dump's alarm goes out, and the watch tries again.
set -u
[[ -n ${MAINPID:-} ]] || exit 0
read -r populated 2>/dev/null <"$SITEGEN_CGROUP/cgroup.events" && [[ $populated == 'populated 1' ]] || exit 0
# A site that is frozen has been dumped before, if that was due.
read -r request 2>/dev/null <"${SITEGEN_LOCK%.lock}.freeze" && [[ $request == "$INVOCATION_ID"* ]] && exit 0
mark=/run/sitegen/sites/$SITEGEN_DUMP.traffic

# Bytes that came to the container; nothing that a dump does inside of it. A program without one has no
# network of its own, but a group, and what it has worked there.
traffic() {
  local pid
  cat "$SITEGEN_CGROUP"/sitegen-process@*/cpu.stat 2>/dev/null | awk '$1 == "usage_usec" { print $2; exit 1 }' || return 0
  read -r pid < <(cat "$SITEGEN_CGROUP"/docker-*.scope/cgroup.procs 2>/dev/null) &&
    grep -v ' lo:' "/proc/$pid/net/dev" 2>/dev/null | awk 'NR > 2 { sum += $2 } END { print sum }'
}

if [[ ${1:-} == again ]]; then
  before=
  read -r before 2>/dev/null <"$mark"
  rm -f "$mark"
  [[ -z $before || $before != "$(traffic)" ]] || exit 0
else
  traffic >"$mark"
  # A dump that has begun has not seen the last requests.
  [[ $(systemctl is-active "$SITEGEN_DUMP.service") != activating ]] || timeout "$SITEGEN_DUMP_LIMIT" systemctl start "$SITEGEN_DUMP.service"
fi
timeout "$SITEGEN_DUMP_LIMIT" systemctl start "$SITEGEN_DUMP.service" || echo 'the dump before the stop failed; the site stops all the same, and the dump is tried again later'
exit 0
