# shellcheck shell=bash
# A guest's life: its directory, its processes, its state.

# guest_load NAME: sets KIND, SUITE, ADDRESS, ROOTFS_KEY, MEMORY; fails when there is none.
guest_load() {
  local key value
  GUEST_DIR=$LAB_GUESTS/$1
  KIND='' SUITE='' ADDRESS='' ROOTFS_KEY='' MEMORY=''
  [[ -r $GUEST_DIR/guest ]] || return 1
  while IFS='=' read -r key value; do
    case $key in
    kind) KIND=$value ;;
    suite) SUITE=$value ;;
    address) ADDRESS=$value ;;
    rootfs) ROOTFS_KEY=$value ;;
    memory) MEMORY=$value ;;
    esac
  done <"$GUEST_DIR/guest"
}

need_guest() {
  guest_load "$1" || fail "there is no guest named '$1'" "./scripts/lab up $1"
}

guest_cgroup() {
  local fstype mount
  while read -r _ mount fstype _; do
    [[ $fstype == cgroup2 ]] && printf '%s/sitegen-lab-%s' "$mount" "$1" && return 0
  done </proc/self/mounts
  return 0
}

# guest_init: finds the PID, on the host, of the guest's PID 1; sets INIT. It
# changes with each reboot of the guest, so it is remembered with its start time.
guest_init() {
  local child grandchild pid spid nspid comm start
  if alive "$GUEST_DIR/init"; then
    INIT=$ALIVE_PID
    return 0
  fi
  alive "$GUEST_DIR/pid" || return 1
  for child in $(children "$ALIVE_PID"); do
    for grandchild in $(children "$child"); do
      for pid in $(children "$grandchild"); do
        while read -r comm nspid; do
          [[ $comm == NSpid: ]] && break
        done <"/proc/$pid/status" || continue
        spid=${nspid##*[[:space:]]}
        read -r comm <"/proc/$pid/comm" || continue
        if [[ $spid == 1 && $comm == @(systemd|init) ]] && start_time "$pid" start; then
          printf '%s %s\n' "$pid" "$start" >"$GUEST_DIR/init.$$"
          mv "$GUEST_DIR/init.$$" "$GUEST_DIR/init"
          INIT=$pid
          return 0
        fi
      done
    done
  done 2>/dev/null
  return 1
}

children() { cat "/proc/$1/task/$1/children" 2>/dev/null || true; }

# guest_exec CMD…: replaces this process.
guest_exec() {
  guest_init || fail "guest '$NAME' is not running" "./scripts/lab up $NAME"
  exec /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    /usr/bin/nsenter -t "$INIT" -m -u -i -n -p -C -r --wdns=/root -- "$@"
}

# Runs a command in the guest and comes back.
in_guest() { (guest_exec "$@"); }

guest_state() {
  local state
  if ! alive "$GUEST_DIR/pid"; then
    echo stopped
    return
  fi
  state=$(in_guest systemctl is-system-running 2>/dev/null) || true
  echo "${state:-starting}"
}

# guest_wait [SECONDS]: until the guest is "running".
guest_wait() {
  local limit=${1:-120} start=$SECONDS state
  while :; do
    state=$(guest_state)
    case $state in
    running) return 0 ;;
    degraded)
      in_guest systemctl --failed --no-legend --plain >&2 || true
      fail "guest '$NAME' has failed units" "./scripts/lab exec $NAME -- journalctl -p warning -b"
      ;;
    stopped) fail "guest '$NAME' stopped" "see $GUEST_DIR/console.log" ;;
    esac
    ((SECONDS - start < limit)) || fail "guest '$NAME' is still '$state' after $limit s" "see $GUEST_DIR/console.log"
    sleep 0.2
  done
}

# guest_create: makes the directory; the file "guest" comes last, and a
# directory without one is of a killed lab.
guest_create() {
  with_lock net
  rm -rf "$GUEST_DIR"
  mkdir -p "$GUEST_DIR"
  ADDRESS=$(free_address)
  printf '%s\n' "kind=$KIND" "suite=$SUITE" "address=$ADDRESS" "rootfs=$ROOTFS_KEY" \
    "memory=$MEMORY" >"$GUEST_DIR/guest.tmp"
  mv "$GUEST_DIR/guest.tmp" "$GUEST_DIR/guest"
  unlock net
}

guest_boot() {
  with_lock net
  net_up
  unlock net
  rm -f "$GUEST_DIR/init"
  LAB_CGROUP=$(guest_cgroup "$NAME") no_locks_spawn "$LAB_D/supervise" outside "$GUEST_DIR" "$NAME" "$KIND" \
    "$LAB_CACHE/rootfs/$ROOTFS_KEY" "$ADDRESS"
}

no_locks_spawn() {
  (
    local fd
    for fd in "${LOCK_FD[@]}"; do exec {fd}>&-; done
    export LAB_CGROUP
    exec setsid "$@" </dev/null >>"$GUEST_DIR/console.log" 2>&1
  ) &
  disown
  local i
  for ((i = 0; i < 100; i++)); do
    alive "$GUEST_DIR/pid" && return 0
    sleep 0.05
  done
  fail "guest '$NAME' did not start" "see $GUEST_DIR/console.log"
}
