#!/bin/bash
# Runs while sites are frozen. A frozen container cannot end when Docker asks it to, so "docker stop"
# by hand would kill it, and its database with it: this hears of the signal and thaws the container,
# which then ends as it should. Docker tells of each signal as it is sent, and waits afterwards.
set -u
thaw() {
  local scope
  for scope in /sys/fs/cgroup/site.slice/site-*.slice/site-*-app.slice/docker-"$1"*.scope; do
    [[ -e $scope/cgroup.freeze ]] || continue
    echo 0 >"$scope/cgroup.freeze"
    echo 0 >"${scope%/*}/cgroup.freeze"
    local slice=${scope%/*}
    systemctl --quiet thaw "${slice##*/}"
    echo "thawed ${slice##*/}: Docker sends its container a signal"
  done
}
# HTTP/1.0, so that the answer comes without chunks: a line of JSON an event.
exec {events}< <(exec nc.openbsd -U /run/docker.sock <<<'GET /events?filters=%7B%22type%22%3A%5B%22container%22%5D%2C%22event%22%3A%5B%22kill%22%5D%2C%22label%22%3A%5B%22sitegen.domain%22%5D%7D HTTP/1.0'$'\r\n\r')
systemd-notify --ready
while read -r -u "$events" line; do
  # Older versions of Docker give it twice, newer ones as Actor.ID alone.
  [[ $line =~ \"[Ii][Dd]\":\"([0-9a-f]{64})\" ]] && thaw "${BASH_REMATCH[1]}"
done
# Docker has gone; it thaws nothing, but sitegen-shutdown.service was before it.
exit 1
