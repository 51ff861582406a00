#!/usr/bin/env bash
# Prints the path of a tar with Debian's WordPress, MariaDB and Apache, made in
# the lab's cache if it is missing there: an application as an admin brings it,
# for guests that reach no registry.
set -euo pipefail

suite=trixie
packages=wordpress,wordpress-theme-twentytwentyfive,mariadb-server,apache2,libapache2-mod-php,php-mysql,php-sqlite3,php-xml,curl,msmtp-mta

self=$(readlink -f "${BASH_SOURCE[0]}")
LAB_D=${self%/test/e2e/*}/scripts/lab.d
LAB_CACHE=${SITEGEN_LAB_CACHE:-/var/cache/sitegen-lab}
# shellcheck disable=SC2034 # host.sh reads it
LAB_LOCKS=/run/sitegen-lab
# shellcheck source=/dev/null
source "$LAB_D/host.sh"

sum=$(sha256sum "$self")
tar=$LAB_CACHE/images/wordpress-${sum:0:12}.tar.zst

if [[ ! -e $tar ]]; then
  need_packages mmdebstrap:mmdebstrap zstd:zstd \
    /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring
  mkdir -p "${tar%/*}"
  lock image-wordpress
  if [[ ! -e $tar ]]; then
    rm -f "$LAB_CACHE"/images/wordpress-*
    # A volume covers the database that the package makes.
    # shellcheck disable=SC2016 # mmdebstrap's shell expands it
    step 'building the image of WordPress' mmdebstrap --mode=root --variant=minbase --include="$packages" \
      --aptopt='Acquire::Languages "none"' \
      --aptopt='APT::Install-Recommends "false"' \
      --dpkgopt='force-unsafe-io' \
      --dpkgopt='path-exclude=/usr/share/man/*' \
      --dpkgopt='path-exclude=/usr/share/doc/*' \
      --dpkgopt='path-exclude=/usr/share/locale/*' \
      --customize-hook='rm -rf "$1"/var/lib/mysql/* "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*' \
      "$suite" "$tar.tmp.tar.zst" ${SITEGEN_LAB_MIRROR:+"$SITEGEN_LAB_MIRROR"}
    mv "$tar.tmp.tar.zst" "$tar"
  fi
  unlock image-wordpress
fi
echo "$tar"
