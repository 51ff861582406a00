#!/bin/sh
# Runs the push of a site, four of the machine at once at most: when a server is back after a day,
# all sites have something for it, and each push takes a hundred megabytes. Those that wait take none.
# Which of the four is waited for depends on the site, so a long push holds up a quarter of the others.
if [ "$1" = again ]; then
  # The last that the unit does. Whoever asked systemd for a push since it has looked for commits got this one,
  # and so would we: its start is done when it has ended (systemd.service(5), oneshot). So the timer asks.
  pushed=/run/sitegen/sites/$2.pushed
  [ -e "$pushed" ] || exit 0
  read -r commit <"$pushed"
  rm -f "$pushed"
  [ "$EXIT_STATUS" = 0 ] || exit 0
  head=$(git --git-dir "/var/lib/sitegen/git/$2.git" rev-parse --quiet --verify refs/heads/main) || exit 0
  [ "$head" = "$commit" ] || exec systemctl start --quiet --no-block "sitegen-push@$2.timer"
  exit 0
fi
program='/usr/bin/env node /usr/lib/sitegen/push.mjs'
for slot in 0 1 2 3; do
  # shellcheck disable=SC2086
  flock --exclusive --nonblock --conflict-exit-code 200 "/run/sitegen/push-$slot.lock" $program "$1"
  status=$?
  [ "$status" = 200 ] || exit "$status"
done
sum=$(printf '%s' "$1" | cksum)
# shellcheck disable=SC2086
exec flock --exclusive "/run/sitegen/push-$((${sum%% *} % 4)).lock" $program "$1"
