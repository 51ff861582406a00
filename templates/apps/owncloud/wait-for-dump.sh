#!/bin/bash
# Upstream's start sources this before it first calls occ, which fails without the database, and the
# container would end. After a restore the database comes from its dump, once the container runs.
if grep -qs "'installed' => true" "$OWNCLOUD_VOLUME_CONFIG/config.php"; then
  touch /tmp/sitegen-waits
  for ((sitegen_tries = 0; sitegen_tries < 1200; sitegen_tries++)); do
    [[ ! -s $OWNCLOUD_VOLUME_FILES/owncloud.db ]] || break
    sleep 0.5
  done
fi
