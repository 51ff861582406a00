# shellcheck shell=bash
# For _NAME.sh, which prints the path of an image's tar: Debian with some packages, made in the
# lab's cache if it is missing there, for guests that reach no registry.
suite=trixie
self=$(readlink -f "$0")
tree=${self%/test/e2e/*}
LAB_D=$tree/scripts/lab.d
LAB_CACHE=${SITEGEN_LAB_CACHE:-/var/cache/sitegen-lab}
# shellcheck disable=SC2034 # host.sh reads it
LAB_LOCKS=/run/sitegen-lab
# shellcheck source=/dev/null
source "$LAB_D/host.sh"

# debian PACKAGES TARGET [OPTION…]
debian() {
  # shellcheck disable=SC2016 # mmdebstrap's shell expands it
  mmdebstrap --mode=root --variant=minbase --include="$1" \
    --aptopt='Acquire::Languages "none"' \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='force-unsafe-io' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "${@:3}" --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
    "$suite" "$2" ${SITEGEN_LAB_MIRROR:+"$SITEGEN_LAB_MIRROR"}
}
# A step has a shell of its own.
export -f debian
export suite tree

# cached NAME BUILD [FILE…]: has `BUILD TARGET` make it, once for each state of these scripts and the files.
cached() {
  local name=$1 sum tar
  sum=$(cat "$self" "${BASH_SOURCE[0]}" "${@:3}" | sha256sum)
  tar=$LAB_CACHE/images/$name-${sum:0:12}.tar.zst
  if [[ ! -e $tar ]]; then
    need_packages mmdebstrap:mmdebstrap zstd:zstd /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
    mkdir -p "${tar%/*}"
    lock "image-$name"
    if [[ ! -e $tar ]]; then
      rm -rf "$LAB_CACHE/images/$name"-*
      "$2" "$tar.tmp.tar.zst"
      mv "$tar.tmp.tar.zst" "$tar"
    fi
    unlock "image-$name"
  fi
  echo "$tar"
}
