# shellcheck shell=bash
# A guest's life: its directory, its processes, its state. NAME is the guest
# that the command is about.

# shellcheck disable=SC2034 # for the two kinds of exec
GUEST_ENV=(PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
  HOME=/root LANG=C.UTF-8 "TERM=${TERM:-dumb}")

# guest_load: sets what the guest was made with; fails when there is none.
guest_load() {
  local key value
  GUEST_DIR=$LAB_GUESTS/$NAME
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
  guest_load || fail "there is no guest '$NAME'" "./scripts/lab up $NAME"
}

# guest_create: the file "guest" comes last; a directory without one is what a
# killed lab left. The lock is for the address.
guest_create() {
  lock net
  guest_remove
  mkdir -p "$GUEST_DIR"
  ADDRESS=$(free_address)
  printf '%s\n' "kind=$KIND" "suite=$SUITE" "address=$ADDRESS" "rootfs=$ROOTFS_KEY" \
    "memory=$MEMORY" >"$GUEST_DIR/guest.tmp"
  mv "$GUEST_DIR/guest.tmp" "$GUEST_DIR/guest"
  unlock net
}

# Where every process of the guest is. The hierarchy is the host's; nothing of
# its mounts is changed.
guest_cgroup() {
  local mount type
  while read -r _ mount type _; do
    [[ $type != cgroup2 ]] || {
      printf '%s' "$mount/sitegen-lab-$NAME"
      return 0
    }
  done </proc/self/mounts
  fail 'this host has no cgroup v2 hierarchy' 'mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified'
}

guest_boot() {
  local try cgroup
  # Where these are modules, a guest could not load them by itself.
  modprobe -qa overlay br_netfilter nf_tables 2>/dev/null || true
  net_up
  [[ $KIND != vm ]] || vm_disk
  cgroup=$(guest_cgroup)
  rm -f "$GUEST_DIR/pid" "$GUEST_DIR/init"
  unlocked setsid --fork "$LAB_D/supervise" outside "$cgroup" "$KIND" "$GUEST_DIR" "$NAME" \
    "$LAB_CACHE/rootfs/$ROOTFS_KEY" "$ADDRESS" "$MEMORY" </dev/null >>"$GUEST_DIR/console.log" 2>&1
  for ((try = 0; try < 200; try++)); do
    ! alive "$GUEST_DIR/pid" || return 0
    sleep 0.05
  done
  guest_stopped
}

# guest_kill: ends the guest at once. The PID is that of the process that holds
# its namespaces together, so the kernel ends the rest.
guest_kill() {
  local cgroup try state=
  ! alive "$GUEST_DIR/pid" || kill -KILL "$ALIVE_PID"
  cgroup=$(guest_cgroup)
  [[ ! -e $cgroup/cgroup.kill ]] || echo 1 >"$cgroup/cgroup.kill"
  for ((try = 0; try < 200; try++)); do
    state=$(cat "$cgroup/cgroup.events" 2>/dev/null || true)
    [[ $state == *'populated 1'* ]] || return 0
    sleep 0.05
  done
  fail "processes of guest '$NAME' do not end" "ps -o pid,stat,wchan,args -p \"\$(cat $cgroup/cgroup.procs)\""
}

# guest_remove: whatever is there of it, with no guest running. On a hybrid host
# nspawn makes the same cgroup in the v1 hierarchies.
guest_remove() {
  local mount type
  rm -f "$GUEST_DIR/guest"
  while read -r _ mount type _; do
    [[ $type != cgroup* || ! -d $mount/sitegen-lab-$NAME ]] ||
      find "$mount/sitegen-lab-$NAME" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done </proc/self/mounts
  rm -rf "$GUEST_DIR"
  rmdir "$LAB_GUESTS" 2>/dev/null || true
}

guest_exec() { "${KIND}_exec" "$@"; }

# in_guest CMD…: comes back; what it leaves running there holds no lock of ours.
in_guest() { unlocked guest_exec "$@"; }

guest_state() {
  local state
  if ! alive "$GUEST_DIR/pid"; then
    echo stopped
  else
    state=$(in_guest timeout 20 systemctl is-system-running 2>/dev/null </dev/null) || true
    echo "${state:-starting}"
  fi
}

guest_stopped() {
  tail -n 15 "$GUEST_DIR/console.log" >&2 || true
  fail "guest '$NAME' stopped" "its console is $GUEST_DIR/console.log"
}

# guest_wait [SECONDS]: until the guest is "running".
guest_wait() {
  local limit=${1:-} start=$SECONDS state
  [[ -n $limit ]] || limit=$([[ $KIND == vm ]] && echo 900 || echo 240)
  while :; do
    state=$(guest_state)
    case $state in
    running) return 0 ;;
    stopped) guest_stopped ;;
    degraded)
      in_guest systemctl --failed --no-legend --plain >&2 </dev/null || true
      fail "units failed in guest '$NAME'" "./scripts/lab exec $NAME -- journalctl -b -p warning"
      ;;
    esac
    ((SECONDS - start < limit)) ||
      fail "guest '$NAME' is still '$state' after $limit s" "its console is $GUEST_DIR/console.log"
    sleep 0.2
  done
}
