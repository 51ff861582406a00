#!/usr/bin/env bash
# Debian's WordPress, MariaDB and Apache: an application as an admin brings it. See _image.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=_image.sh
source "$(dirname "$(readlink -f "$0")")/_image.sh"

build() {
  local packages=wordpress,wordpress-theme-twentytwentyfive,mariadb-server,apache2,libapache2-mod-php,php-mysql,php-sqlite3,php-xml,curl,msmtp-mta
  # A volume covers the database that the package makes.
  # shellcheck disable=SC2016 # other shells expand it
  step 'building the image of WordPress' bash -euc 'debian "$1" "$0" --customize-hook="rm -rf \"\$1\"/var/lib/mysql/*"' "$1" "$packages"
}

cached wordpress build
