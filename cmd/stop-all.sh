#!/bin/bash
# ExecStop= of sitegen-shutdown.service: stops our sites' services, and nobody else's of such a name,
# and what runs without its service: Docker would kill what is frozen.
set -u
# When Docker has died and is started again, its sites wait for it, and stopping them would wait for them.
systemctl --quiet is-active docker.service || exit 0
# It would freeze again what is thawed below. Wakes start it.
systemctl --quiet stop sitegen-idle.timer sitegen-idle.service 'sitegen-room@*.service'
mapfile -t files < <(grep --files-with-matches --no-messages '^# Made by sitegen' /etc/systemd/system/site-*.service)
((${#files[@]} == 0)) || systemctl --quiet stop "${files[@]##*/}"
! grep -qs '^populated 1' /sys/fs/cgroup/site.slice/site-*.slice/site-*-app.slice/cgroup.events || exec node /usr/lib/sitegen/stop-quiet.mjs
