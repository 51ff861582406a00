# shellcheck shell=bash
# The cached root file systems, one for each suite and recipe.

suite_packages() {
  local name suites
  while read -r name suites; do
    [[ -z $name || $name == \#* ]] && continue
    [[ -z $suites || " $suites " == *" $1 "* ]] && printf '%s\n' "$name"
  done <"$LAB_D/packages"
  return 0
}

# The key changes with whatever the result depends on.
rootfs_key() {
  local sum
  sum=$({
    suite_packages "$1"
    cat "$LAB_D/mkroot"
  } | sha256sum)
  printf '%s-%s' "$1" "${sum:0:12}"
}

# rootfs SUITE: builds what is missing; sets ROOTFS_KEY and ROOTFS.
rootfs() {
  local suite=$1 packages
  ROOTFS_KEY=$(rootfs_key "$suite")
  ROOTFS=$LAB_CACHE/rootfs/$ROOTFS_KEY
  [[ ! -d $ROOTFS ]] || return 0
  mkdir -p "$LAB_CACHE/rootfs"
  with_lock "rootfs-$suite"
  if [[ ! -d $ROOTFS ]]; then
    need_packages mmdebstrap:mmdebstrap \
      /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
    mapfile -t packages < <(suite_packages "$suite")
    # Only the holder of the lock writes here: what is found is of a killed lab.
    rm -rf "$LAB_CACHE/rootfs/$suite"-*.tmp
    step "building the root file system of $suite" \
      "$LAB_D/mkroot" "$suite" "$ROOTFS.tmp" "${packages[@]}"
    mv "$ROOTFS.tmp" "$ROOTFS"
  fi
  unlock "rootfs-$suite"
}
