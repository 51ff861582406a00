# shellcheck shell=bash
# The cached root file systems, one for each suite and recipe, and the disks
# that virtual machines boot from.

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

# rootfs SUITE: builds it if it is missing; sets ROOTFS_KEY.
rootfs() {
  local suite=$1 root packages work=$LAB_CACHE/rootfs/$1.tmp
  ROOTFS_KEY=$(rootfs_key "$suite")
  root=$LAB_CACHE/rootfs/$ROOTFS_KEY
  if [[ ! -d $root ]]; then
    need_packages mmdebstrap:mmdebstrap ssh-keygen:openssh-client \
      /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
    lock "rootfs-$suite"
    if [[ ! -d $root ]]; then
      mapfile -t packages < <(suite_packages "$suite")
      # Whatever is here belongs to a lab that was killed: the lock is ours.
      rm -rf "$work"
      mkdir -p "$work"
      step "building the root file system of $suite" \
        env TMPDIR="$work" "$LAB_D/mkroot" "$suite" "$work/root" "${packages[@]}"
      mv "$work/root" "$root"
      rm -rf "$work"
      prune "$suite"
    fi
    unlock "rootfs-$suite"
  fi
  : >"$root.used"
}

# base_disk: the disk image of ROOTFS_KEY, for machines to lay their own upon.
base_disk() {
  local root=$LAB_CACHE/rootfs/$ROOTFS_KEY
  [[ ! -e $root.img ]] || return 0
  need_packages mke2fs:e2fsprogs
  lock "disk-$ROOTFS_KEY"
  if [[ ! -e $root.img ]]; then
    rm -f "$root.img.tmp"
    step "making the disk of $ROOTFS_KEY" mke2fs -q -t ext4 -d "$root" "$root.img.tmp" 16G
    mv "$root.img.tmp" "$root.img"
  fi
  unlock "disk-$ROOTFS_KEY"
}

# prune SUITE: what was not used for a week, unless a guest stands on it.
prune() {
  local used key
  while read -r used; do
    key=${used##*/}
    key=${key%.used}
    grep -qsx "rootfs=$key" "$LAB_GUESTS"/*/guest && continue
    say "removing $key, which was not used for a week"
    rm -rf "$used" "${used%.used}.img" "${used%.used}"
  done < <(find "$LAB_CACHE/rootfs" -maxdepth 1 -name "$1-*.used" -mtime +7)
}
