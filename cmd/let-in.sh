#!/bin/bash
# Has Docker's firewall let through what our rules lead to containers from outside: its own chain would
# drop that, whatever other tables accept. Fails where there is no such chain.
set -u
[[ $(</proc/sys/net/ipv4/ip_forward) == 1 ]] || { echo 'net.ipv4.ip_forward is off' >&2; exit 1; }
rules=$(iptables -w 5 -S DOCKER-USER) || exit
# Back too: Docker keeps its networks apart in both directions.
for match in '-o sitegen0 -m conntrack --ctstate DNAT --ctdir ORIGINAL' '-i sitegen0 -m conntrack --ctstate DNAT --ctdir REPLY'; do
  [[ $rules != *"-A DOCKER-USER $match -j ACCEPT"* ]] || continue
  read -ra rule <<<"$match -j ACCEPT"
  # Behind the admin's own rules, which may drop what they want, and before Docker's RETURN.
  if [[ $rules == *'-A DOCKER-USER -j RETURN' ]]; then
    iptables -w 5 -I DOCKER-USER "$(iptables -w 5 -S DOCKER-USER | grep -c '^-A')" "${rule[@]}" || exit
  else
    iptables -w 5 -A DOCKER-USER "${rule[@]}" || exit
  fi
done
