# shellcheck shell=bash disable=SC2153
# Container guests: real systemd and Docker at full speed, on the host's kernel.

# Sourced by the lab and by `supervise`; this one runs in the latter, where
# mounts are private and end with the guest.
nspawn_run() {
  local dir=$1 name=$2 root=$3 address=$4 status
  mkdir -p "$dir"/{upper,work,root,docker}
  mount -t overlay -o "lowerdir=$root,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
  # nspawn leaves locks here that nobody ever removes.
  mkdir -p /run/systemd/nspawn
  mount -t tmpfs tmpfs /run/systemd/nspawn
  # With status 133 nspawn asks to be started again: the guest reboots.
  while :; do
    status=0
    nspawn_once || status=$?
    ((status == 133)) || return "$status"
    # A reboot does not find a slice frozen because it was so before.
    find "$LAB_CGROUP/payload" -depth -type d -exec rmdir {} + 2>/dev/null || true
  done
}

# Docker needs keyctl, add_key and bpf, and a /sys and /proc/sys that can be
# written; on the overlay its overlay2 driver refuses to work, so its directory
# is bound from below it. udev, modules and the clock are the host's business.
nspawn_once() {
  # The kernel takes the cable of one that has ended away when it comes to it, and nspawn wants to make it.
  ip link delete "vb-$name" 2>/dev/null || true
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_API_VFS_WRITABLE=1 \
    systemd-nspawn --quiet --directory="$dir/root" --machine="$name" --hostname="$name" \
    --boot --register=no --keep-unit --capability=all --drop-capability=CAP_SYS_TIME \
    --system-call-filter='add_key keyctl bpf' \
    --rlimit=RLIMIT_NOFILE=1024:524288 \
    --console=pipe --resolv-conf=off --timezone=off --link-journal=no \
    --network-bridge=lab0 --set-credential="lab.address:$address" \
    --bind="$dir/docker:/var/lib/docker" \
    systemd.mask=systemd-modules-load.service \
    systemd.mask=systemd-udevd.service \
    systemd.mask=systemd-udevd-control.socket \
    systemd.mask=systemd-udevd-kernel.socket \
    systemd.mask=systemd-udev-trigger.service \
    systemd.mask=console-getty.service
}

# nspawn_init: sets INIT to the host's PID for the guest's PID 1. It changes
# when the guest reboots, so it is remembered with its start time.
nspawn_init() {
  local supervise nspawn pid comm start key value
  if alive "$GUEST_DIR/init"; then
    INIT=$ALIVE_PID
    return 0
  fi
  alive "$GUEST_DIR/pid" || return 1
  # The noted process is unshare.
  for supervise in $(children "$ALIVE_PID"); do
    for nspawn in $(children "$supervise"); do
      for pid in $(children "$nspawn"); do
        while read -r key value; do [[ $key != NSpid: ]] || break; done <"/proc/$pid/status"
        read -r comm <"/proc/$pid/comm"
        # Before it is called so, it is nspawn's child and still builds the guest.
        [[ ${value##*[[:space:]]} == 1 && $comm == systemd ]] || continue
        start_time "$pid" start || continue
        printf '%s %s\n' "$pid" "$start" >"$GUEST_DIR/init.$$"
        mv "$GUEST_DIR/init.$$" "$GUEST_DIR/init"
        INIT=$pid
        return 0
      done
    done
  done 2>/dev/null
  return 1
}

# nspawn_exec CMD…: replaces this process. It joins a cgroup of the guest, or
# the guest's systemd and journal would see a process that belongs nowhere.
nspawn_exec() {
  local cgroup
  nspawn_init || fail "guest '$NAME' is not running" "./scripts/lab up $NAME"
  cgroup=$(guest_cgroup)/payload/lab.scope
  { echo "$BASHPID" >"$cgroup/cgroup.procs"; } 2>/dev/null ||
    { mkdir -p "$cgroup" && echo "$BASHPID" >"$cgroup/cgroup.procs"; } 2>/dev/null || true
  # The host's own limits, whatever they are, say nothing about a server.
  ulimit -Hn 524288 2>/dev/null || true
  ulimit -Sn 1024
  # Of itself nsenter stops when its child is stopped, as a guest that shuts down
  # does with all there is before it kills them. Nobody would continue it, nobody
  # take the dead child, and the guest's end would wait for that for ever.
  # shellcheck disable=SC2016 # for the shell in the guest
  exec /usr/bin/env -i "${GUEST_ENV[@]}" \
    /usr/bin/nsenter -t "$INIT" -m -u -i -n -p -C -r --wdns=/root --no-fork -- \
    /bin/sh -c '"$@"; exit $?' sh "$@"
}
