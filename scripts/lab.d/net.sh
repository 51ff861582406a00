# shellcheck shell=bash
# The lab network: a namespace of its own with one bridge. Only what is run
# through `ip netns exec sitegen-lab` is in it; the host is not.

LAB_NETNS=sitegen-lab
LAB_BRIDGE=lab0
LAB_NET=198.18.0

in_net() { nsenter --net="/run/netns/$LAB_NETNS" "$@"; }

# Caller holds the lock "net".
net_up() {
  if ! in_net ip link show "$LAB_BRIDGE" &>/dev/null; then
    # A killed lab may have made the name and not the rest.
    ip netns delete "$LAB_NETNS" 2>/dev/null || true
    ip netns add "$LAB_NETNS"
    in_net ip link set lo up
    in_net ip link add "$LAB_BRIDGE" type bridge forward_delay 0 mcast_snooping 0
    in_net ip address add "$LAB_NET.1/24" dev "$LAB_BRIDGE"
    in_net ip link set "$LAB_BRIDGE" up
  fi
}

# Caller holds the lock "net".
net_down_if_unused() {
  local guest
  for guest in "$LAB_GUESTS"/*/; do [[ ! -e $guest ]] || return 0; done
  ip netns delete "$LAB_NETNS" 2>/dev/null || true
  # `ip` leaves its own mount behind; it is in nobody's way when it is empty.
  if rmdir /run/netns/.. 2>/dev/null; then :; fi
}

# Caller holds the lock "net". Prints the first address that no guest has.
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
