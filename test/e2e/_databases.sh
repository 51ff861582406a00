#!/usr/bin/env bash
# Prints the path of a tar with Debian's MariaDB, PostgreSQL and SQLite, made in
# the lab's cache if it is missing there: databases as admins have them in their
# containers, for guests that reach no registry.
set -euo pipefail

suite=trixie
packages=mariadb-server,postgresql,sqlite3

self=$(readlink -f "${BASH_SOURCE[0]}")
LAB_D=${self%/test/e2e/*}/scripts/lab.d
LAB_CACHE=${SITEGEN_LAB_CACHE:-/var/cache/sitegen-lab}
# shellcheck disable=SC2034 # host.sh reads it
LAB_LOCKS=/run/sitegen-lab
# shellcheck source=/dev/null
source "$LAB_D/host.sh"

sum=$(sha256sum "$self")
tar=$LAB_CACHE/images/databases-${sum:0:12}.tar.zst

if [[ ! -e $tar ]]; then
  need_packages mmdebstrap:mmdebstrap zstd:zstd \
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
  mkdir -p "${tar%/*}"
  lock image-databases
  if [[ ! -e $tar ]]; then
    rm -f "$LAB_CACHE"/images/databases-*
    # Both packages make a database of their own, which the entry makes anew.
    # shellcheck disable=SC2016 # mmdebstrap's shell expands it
    step 'building the image of databases' mmdebstrap --mode=root --variant=minbase --include="$packages" \
      --aptopt='Acquire::Languages "none"' \
      --aptopt='APT::Install-Recommends "false"' \
      --dpkgopt='force-unsafe-io' \
      --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' \
      --customize-hook='rm -rf "$1"/var/lib/mysql/* "$1"/var/lib/postgresql/*/main "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
      "$suite" "$tar.tmp.tar.zst" ${SITEGEN_LAB_MIRROR:+"$SITEGEN_LAB_MIRROR"}
    mv "$tar.tmp.tar.zst" "$tar"
  fi
  unlock image-databases
fi
echo "$tar"
