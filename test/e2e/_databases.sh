#!/usr/bin/env bash
# Debian's MariaDB, PostgreSQL and SQLite: databases as admins have them in their containers. See _image.sh.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=_image.sh
source "$(dirname "$(readlink -f "$0")")/_image.sh"

build() {
  # Both packages make a database of their own, which the entry makes anew.
  # shellcheck disable=SC2016 # other shells expand it
  step 'building the image of databases' bash -euc 'debian mariadb-server,postgresql,sqlite3 "$0" \
    --customize-hook="rm -rf \"\$1\"/var/lib/mysql/* \"\$1\"/var/lib/postgresql/*/main"' "$1"
}

cached databases build
