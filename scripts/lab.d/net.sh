# shellcheck shell=bash
# The lab network: one bridge in a network namespace of its own. Only guests
# and what is run through `ip netns exec sitegen-lab` are in it; the host is not.

LAB_NETNS=sitegen-lab
LAB_BRIDGE=lab0
LAB_NET=198.18.0

in_net() { nsenter --net="/run/netns/$LAB_NETNS" -- "$@"; }

# Each step can be done again, as a lab may have been killed between any two.
net_up() {
  lock net
  if ! in_net true 2>/dev/null; then
    ip netns delete "$LAB_NETNS" 2>/dev/null || true
    ip netns add "$LAB_NETNS"
  fi
  in_net ip link set lo up
  in_net ip link show "$LAB_BRIDGE" &>/dev/null ||
    in_net ip link add "$LAB_BRIDGE" type bridge forward_delay 0 mcast_snooping 0
  in_net ip address replace "$LAB_NET.1/24" dev "$LAB_BRIDGE"
  in_net ip link set "$LAB_BRIDGE" up
  unlock net
}

# With the last guest goes the network, and the mount that `ip netns` makes
# for its names.
net_down_if_unused() {
  local guest
  lock net
  for guest in "$LAB_GUESTS"/*/; do
    [[ ! -e $guest ]] || {
      unlock net
      return 0
    }
  done
  if [[ -e /run/netns/$LAB_NETNS ]]; then
    ip netns delete "$LAB_NETNS"
    [[ -n $(ls -A /run/netns) ]] || umount /run/netns 2>/dev/null || true
  fi
  unlock net
}

# Prints the first address that no guest has. The caller holds the lock "net".
free_address() {
  local n used
  used=$(cat "$LAB_GUESTS"/*/guest 2>/dev/null || true)
  for n in {2..254}; do
    if ! grep -qx "address=$LAB_NET.$n" <<<"$used"; then
      printf '%s' "$LAB_NET.$n"
      return 0
    fi
  done
  fail 'the lab network is full' './scripts/lab down --all'
}

# guest_link up|down: the guest's cable, at its plug in the bridge.
guest_link() {
  local index plug
  if [[ $KIND == vm ]]; then
    plug=$(vm_tap "$ADDRESS")
  else
    index=$(in_guest cat /sys/class/net/host0/iflink)
    plug=$(in_net ip -oneline link show | sed -n "s/^$index: \([^@:]*\).*/\1/p")
  fi
  in_net ip link set "$plug" "$1"
}
