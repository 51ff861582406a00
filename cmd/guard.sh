#!/bin/bash
# Runs while sites are frozen. A frozen container cannot end when Docker asks it to, so "docker stop"
# by hand would kill it, and its database with it: this hears of the signal and thaws the container,
# which then ends as it should. Docker tells of each signal as it is sent, and waits afterwards.
set -u
# Also when the container was killed, and is gone already: systemd would go on taking its slice for
# frozen, and nothing could start in it any more.
thaw() {
  local site=$1 file group frozen=
  group=/sys/fs/cgroup/site.slice/site-$site.slice/site-$site-app.slice
  for file in "$group"/cgroup.freeze "$group"/*/cgroup.freeze "$group"/*-entry.slice/*/cgroup.freeze; do
    read -r state 2>/dev/null <"$file" && [[ $state == 1 ]] || continue
    frozen=1
    echo 0 >"$file"
  done
  [[ -n $frozen ]] || return 0
  systemctl --quiet thaw "site-$site-app.slice"
  echo "thawed site-$site-app.slice: Docker sends its container a signal"
}
# HTTP/1.0, so that the answer comes without chunks: a line of JSON an event.
exec {events}< <(exec nc.openbsd -U /run/docker.sock <<<'GET /events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22kill%22%5D%2C%22label%22%3A%5B%22sitegen.domain%22%5D%7D HTTP/1.0'$'\r\n\r')
systemd-notify --ready
while read -r -u "$events" line; do
  [[ $line =~ \"name\":\"site-([A-Za-z0-9._-]+)\" ]] || continue
  # Of a project's service, whose name comes behind the site's.
  site=${BASH_REMATCH[1]%%__*}
  # In slices' names "-" means nesting.
  thaw "${site//-/\\x2d}"
done
# Docker has gone; it thaws nothing, but sitegen-shutdown.service was before it.
exit 1
