import type { Guest } from './_guest.ts';

/** Starts a name server with names that tests give addresses. */
export async function startDns(guest: Guest): Promise<void> {
  await guest.sh(`systemctl stop pebble-dns named 2>/dev/null || true
    doh=$(pebble-challtestsrv -h 2>&1 | grep -q -- -doh && echo '-doh=' || true)
    systemd-run --quiet --collect --unit pebble-dns pebble-challtestsrv -dns01 127.0.0.1:53 -http01 '' -https01 '' -tlsalpn01 '' -management 127.0.0.1:8055 -defaultIPv4 '' -defaultIPv6 '' $doh
    for i in $(seq 100); do curl -s http://127.0.0.1:8055/ >/dev/null && break; sleep 0.1; done`);
}
