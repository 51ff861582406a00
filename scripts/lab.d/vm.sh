# shellcheck shell=bash disable=SC2153
# Virtual machines: a kernel of their own, with every cgroup controller, and a
# plug to pull.

# The interface that is the machine's plug in the lab's bridge.
vm_tap() { printf 'vm%s' "${1##*.}"; }

# cache=none: what the machine has flushed is on the disk, and what it has not
# is lost when qemu is killed, as in a power cut.
vm_disk() {
  [[ ! -e $GUEST_DIR/disk ]] || return 0
  base_disk
  rm -f "$GUEST_DIR/disk.tmp"
  qemu-img create -q -f qcow2 -F raw -b "$LAB_CACHE/rootfs/$ROOTFS_KEY.img" "$GUEST_DIR/disk.tmp"
  mv "$GUEST_DIR/disk.tmp" "$GUEST_DIR/disk"
}

# Runs in `supervise`, in the lab network. After a reset the old qemu is three
# times slower than a new one, so it ends with each reboot; why it ended is in
# what it said on its control channel, which a fifo keeps open.
vm_run() {
  local dir=$1 name=$2 root=$3 address=$4 memory=$5
  # shellcheck disable=SC2016
  printf '#!/bin/sh\nexec ip link set "$1" master lab0 up\n' >"$dir/plug"
  chmod +x "$dir/plug"
  rm -f "$dir/qmp"
  mkfifo "$dir/qmp"
  exec 3<>"$dir/qmp"
  vm_master "$dir" "$root" "$address" 3>&- &
  while :; do
    echo '{"execute": "qmp_capabilities"}' >&3
    vm_once <&3 >"$dir/qmp.log"
    grep -q '"reason": "guest-reset"' "$dir/qmp.log" || return 0
  done
}

# qemu makes the tap and takes it away. The last lines for the kernel only save
# seconds of emulation.
vm_once() {
  local kernel=(root=/dev/vda rootfstype=ext4 rw console=ttyS0 quiet panic=-1
    net.ifnames=0 apparmor=0 selinux=0 "systemd.hostname=$name"
    "systemd.set_credential=lab.address:$address"
    mitigations=off random.trust_cpu=on cryptomgr.notests rcupdate.rcu_expedited=1
    systemd.mask=modprobe@drm.service systemd.mask=modprobe@efi_pstore.service
    systemd.mask=serial-getty@ttyS0.service systemd.mask=getty@tty1.service)
  qemu-system-x86_64 \
    -accel "${SITEGEN_LAB_ACCEL:-tcg,thread=multi}" -cpu max,la57=off,arch-capabilities=off \
    -smp 2 -m "$memory" -nodefaults -no-user-config -display none -no-reboot -qmp stdio \
    -chardev "file,id=console,path=$dir/console.log,append=on" -serial chardev:console \
    -kernel "$root/vmlinuz" -initrd "$root/initrd.img" -append "${kernel[*]}" \
    -drive "file=$dir/disk,if=none,id=disk,format=qcow2,cache=none,discard=unmap" \
    -device virtio-blk-pci,drive=disk -device virtio-rng-pci \
    -netdev "tap,id=net,ifname=$(vm_tap "$address"),script=$dir/plug,downscript=no" \
    -device "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:12:00:$(printf '%02x' "${address##*.}")"
}

# A handshake under emulation takes a second: one connection stays open, and
# each `exec` is a channel in it.
vm_master() {
  local dir=$1 root=$2 address=$3
  vm_ssh "$dir" "$root"
  while :; do
    rm -f "$dir/ssh"
    "${SSH[@]}" -M -N -o ServerAliveInterval=10 -o ServerAliveCountMax=6 \
      "root@$address" </dev/null &>/dev/null || true
    sleep 0.5
  done
}

# vm_ssh DIR ROOTFS: sets SSH. All guests of a root file system have its host
# key and let in its key.
vm_ssh() {
  SSH=(ssh -F none -S "$1/ssh" -i "$2/etc/ssh/lab_key" -o IdentitiesOnly=yes
    -o UserKnownHostsFile="$2/etc/ssh/lab_known_hosts" -o StrictHostKeyChecking=yes
    -o BatchMode=yes -o ConnectTimeout=5 -o LogLevel=ERROR)
}

# vm_exec CMD…: replaces this process. ssh hands one string to a shell, so each
# argument is quoted; single quotes keep everything but themselves.
vm_exec() {
  local word line='cd; env -i' quote="'\\''" tty=()
  alive "$GUEST_DIR/pid" || fail "guest '$NAME' is not running" "./scripts/lab up $NAME"
  for word in "${GUEST_ENV[@]}" "$@"; do line+=" '${word//\'/$quote}'"; done
  [[ ! -t 0 || ! -t 1 ]] || tty=(-t)
  vm_ssh "$GUEST_DIR" "$LAB_CACHE/rootfs/$ROOTFS_KEY"
  exec nsenter --net="/run/netns/$LAB_NETNS" -- "${SSH[@]}" "${tty[@]}" "root@$ADDRESS" "$line; exit \$?"
}
