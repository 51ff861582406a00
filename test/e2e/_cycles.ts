import type { Guest } from './_guest.ts';
import { write } from './_machine.ts';
import { serverImage } from './_server.ts';

/** Frozen soon and stopped soon after, frozen only, stopped at once, and with an app that ends in order. */
export const sites = [
  { host: 'deep.example.com', idle: 'after: 1s, stopAfter: 2s', graceful: '0' },
  { host: 'cool.example.com', idle: 'after: 1s, stopAfter: 1h', graceful: '0' },
  { host: 'cold.example.com', idle: 'after: 1s, freeze: false', graceful: '1' },
  { host: 'mild.example.com', idle: 'after: 2s, stopAfter: 3s', graceful: '1' },
];

/** A fault of a guest's sites: what map, systemd, kernel and Docker say of each has to fit. */
export async function drift(guest: Guest, { host, address }: { host: string; address: string }): Promise<string> {
  return guest.sh(`site=${host}; name=site-$site
    app=/sys/fs/cgroup/site.slice/$name.slice/$name-app.slice
    populated=0; frozen=0
    if [[ -e $app/cgroup.events ]]; then
      populated=$(sed -n 's/^populated //p' $app/cgroup.events)
      frozen=$(cat $app/cgroup.events $app/*.scope/cgroup.events 2>/dev/null | sed -n 's/^frozen //p' | sort -rn | head -1)
    fi
    mapped=0; ! nft get element inet sitegen awake '{ ${address} . 80 }' &>/dev/null || mapped=1
    active=0; ! systemctl is-active --quiet $name.service || active=1
    running=0; [[ $(docker inspect -f '{{.State.Status}}' $name) != running ]] || running=1
    freezer=0; [[ $(systemctl show -P FreezerState $name-app.slice) == running ]] || freezer=1
    ((mapped == active)) || echo "$site: in the map $mapped, service active $active"
    ((running == populated)) || echo "$site: Docker says running $running, its cgroup is populated $populated"
    ((freezer == frozen)) || echo "$site: systemd says frozen $freezer, the kernel $frozen"
    ((active == 0 || frozen == 0)) || echo "$site: active and frozen"`);
}

/** Makes these sites, of the server for tests. */
export async function writeSites(guest: Guest): Promise<{ host: string; address: string }[]> {
  for (const { host, idle, graceful } of sites) {
    await write(guest, `/etc/sitegen/sites/${host}.yaml`, `domain: ${host}\nimage: ${serverImage}\nvolumes: ["data:/data"]\nenv: {GRACEFUL: "${graceful}"}\nstop: {timeout: 3s}\nidle: {${idle}}\nbackup: false\n`);
  }
  await guest.sh('sitegen apply --quiet');
  const there: { host: string; address: string }[] = [];
  for (const { host } of sites) there.push({ host, address: (await guest.status(host)).address });
  return there;
}
