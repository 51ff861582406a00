import type { ExecutionContext } from 'ava';
import { guestTest, longTest, newestTest, until, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';
import { write } from './_machine.ts';

/**
 * An application that works, or asks elsewhere, without anybody having a connection to it, and that
 * writes down how it was ended. `/cgi-bin/work` makes it work while there is a file `work`.
 */
const image = 'test/idle:3';
const scripts: Readonly<Record<string, string>> = {
  Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nCOPY serve is-busy poll /usr/bin/\nCOPY work /www/cgi-bin/work\nCOPY index.html /www/index.html\nCMD ["/usr/bin/serve"]\n',
  'index.html': 'here\n',
  // What a database does: its end is clean only when it was asked to end and had the time.
  serve: '#!/bin/busybox sh\n[ ! -e /data/dirty ] || echo unclean >> /data/ends; touch /data/dirty; poll & httpd -f -p 80 -h /www & trap "sleep 0.2; rm /data/dirty; echo clean >> /data/ends; exit 0" TERM; while :; do sleep 1000 & wait $!; done\n',
  poll: '#!/bin/busybox sh\nwhile [ -e /data/polls ]; do nc -w 1 10.214.0.1 80 </dev/null >/dev/null 2>&1; sleep 2; done\n',
  work: '#!/bin/busybox sh\nprintf "content-type: text/plain\\r\\n\\r\\nworking\\n"\n( touch /data/working; while [ -e /data/work ]; do sleep 0.1; n=0; while [ $n -lt 2000 ]; do n=$((n + 1)); done; done; rm /data/working ) >/dev/null 2>&1 </dev/null &\n',
  'is-busy': '#!/bin/busybox sh\n[ -e /data/busy ]\n',
};

/** Adds a site with that, as an admin does who writes its settings. Gives its address. */
async function addIdle(guest: Guest, domain: string, idle: string, more = ''): Promise<string> {
  await buildImage(guest, image, scripts);
  await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: ${image}\nvolumes: ["data:/data"]\nstop: {timeout: 3s}\nidle: {${idle}}\n${more}`);
  await guest.sh(`sitegen apply --quiet ${domain}`);
  return (await guest.status(domain)).address;
}

const round = (guest: Guest) => guest.sh('systemctl start sitegen-idle.service');
const dataOf = (domain: string) => `/var/lib/sitegen/sites/${domain}/data/data`;
const stateOf = async (guest: Guest, domain: string) => (await guest.status(domain)).state;
const sleeps = (guest: Guest, domain: string, state: string, ms = 60_000) => until(`${domain} is ${state}`, async () => await stateOf(guest, domain) === state, ms, 500);
const forwarded = async (guest: Guest, address: string) => (await guest.sh('nft list map inet sitegen awake')).includes(`${address} . 80 :`);

/** Removes what `addIdle` has added. */
async function withSite(guest: Guest, domain: string, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } finally {
    await guest.sitegen('remove', '--purge', '--yes', domain);
  }
}

guestTest('a site that nobody visits is frozen by the timer, thawed by a hit without Docker, and stopped after a while', async (t, guest) => {
  const domain = 'quiet.example.com';
  await withSite(guest, domain, async () => {
    const address = await addIdle(guest, domain, 'after: 3s, stopAfter: 30s');
    t.is((await guest.get(address)).status, 200);
    await until('new connections go past the splice', () => forwarded(guest, address), 5000);
    const pid = await guest.sh(`systemctl show -P MainPID site-${domain}`);
    t.is((await guest.get(address)).status, 200);
    t.is(await guest.sh(`ss -Htnp state established src ${address}:80`), '', `nothing goes through the splice, ${pid}`);
    await sleeps(guest, domain, 'frozen');
    t.false(await forwarded(guest, address));
    t.is(await guest.sh(`systemctl show -P FreezerState site-${domain}-app.slice; systemctl is-active site-${domain}.service || true; docker inspect -f '{{.State.Status}}' site-${domain}`), 'frozen\ninactive\nrunning');
    const since = await guest.sh('date +%s.%N');
    t.is((await guest.get(address)).status, 200);
    t.is(await stateOf(guest, domain), 'awake');
    t.is(await guest.sh(`docker events --since ${since} --until "$(date +%s.%N)" --filter container=site-${domain} --format '{{.Action}}'`), '', 'Docker has done nothing');
    await until('systemd knows that it is thawed', async () => await guest.sh(`systemctl show -P FreezerState site-${domain}-app.slice`) === 'running', 5000);
    const entry = JSON.parse(await guest.sh(`journalctl --sync; journalctl -u site-${domain} SITEGEN_TO=awake -n 1 -o json`)) as Record<string, string>;
    t.is(entry['SITEGEN_FROM'], 'frozen');
    t.regex(entry['SITEGEN_PHASES'] ?? '', /^wait=\d+ create=0 start=\d+ ready=\d+$/);
    await sleeps(guest, domain, 'frozen');
    await sleeps(guest, domain, 'asleep', 120_000);
    t.is(await guest.sh(`cat ${dataOf(domain)}/ends`), 'clean');
    await until('nothing of ours runs any more', async () => (await guest.sh('systemctl is-active sitegen-idle.timer sitegen-guard.service || true')) === 'inactive\ninactive', 60_000, 500);
    t.is((await guest.get(address)).status, 200);
  });
});

newestTest('work without connections keeps a site awake until it is done, and asking elsewhere does not', async (t, guest) => {
  const [worker, poller, asker] = ['worker.example.com', 'poller.example.com', 'asker.example.com'] as const;
  await withSite(guest, worker, () => withSite(guest, poller, () => withSite(guest, asker, async () => {
    const work = await addIdle(guest, worker, 'after: 2s');
    const poll = await addIdle(guest, poller, 'after: 2s');
    const ask = await addIdle(guest, asker, 'after: 2s, busy: [is-busy]');
    await guest.sh(`touch ${dataOf(poller)}/polls ${dataOf(asker)}/busy ${dataOf(worker)}/work`);
    for (const address of [poll, ask]) t.is((await guest.get(address, { path: '/' })).status, 200);
    t.is((await guest.get(work, { path: '/cgi-bin/work' })).status, 200);
    await sleeps(guest, poller, 'frozen', 45_000);
    t.is(await stateOf(guest, worker), 'awake');
    t.is(await stateOf(guest, asker), 'awake');
    t.is(await guest.sh(`ls ${dataOf(worker)}/working`), `${dataOf(worker)}/working`);
    await guest.sh(`rm ${dataOf(asker)}/busy ${dataOf(worker)}/work`);
    await sleeps(guest, worker, 'frozen', 90_000);
    t.is(await guest.sh(`ls ${dataOf(worker)}/working 2>/dev/null || true`), '', 'the work is done');
    await sleeps(guest, asker, 'frozen');
  })));
});

longTest('an open connection keeps a site awake, never keeps it, and freeze: false stops it', async (t, guest) => {
  const [open, never, stops] = ['open.example.com', 'never-sleeps.example.com', 'stops.example.com'] as const;
  await withSite(guest, open, () => withSite(guest, never, () => withSite(guest, stops, async () => {
    const address = await addIdle(guest, open, 'after: 1s');
    t.is((await guest.get(await addIdle(guest, never, 'after: 1s, never: true'))).status, 200);
    t.is((await guest.get(await addIdle(guest, stops, 'after: 1s, freeze: false'))).status, 200);
    await guest.sh(`systemd-run --quiet --collect --unit test-open bash -c 'exec 3<>/dev/tcp/${address}/80; sleep 600'`);
    await sleeps(guest, stops, 'asleep');
    t.is(await guest.sh(`cat ${dataOf(stops)}/ends`), 'clean');
    await guest.sh('sleep 3');
    await round(guest);
    t.is(await stateOf(guest, open), 'awake');
    t.is(await stateOf(guest, never), 'awake');
    await guest.sh('systemctl stop test-open');
    await sleeps(guest, open, 'frozen');
  })));
});

newestTest('rules that somebody flushes are back with the next round, and until then sites answer through the splice', async (t, guest) => {
  const domain = 'flushed.example.com';
  await withSite(guest, domain, async () => {
    const address = await addIdle(guest, domain, 'after: 5min');
    t.is((await guest.get(address)).status, 200);
    await until('forwarded', () => forwarded(guest, address), 5000);
    await guest.sh('systemctl stop sitegen-idle.timer');
    const since = await guest.sh('date +%s.%N');
    try {
      for (const flush of ['nft delete table inet sitegen', `nft delete element inet sitegen awake '{ ${address} . 80 }'`, 'nft flush table inet sitegen']) {
        await guest.sh(flush);
        t.is((await guest.get(address)).status, 200, flush);
        t.is(await stateOf(guest, domain), 'awake');
        await round(guest);
        t.true(await forwarded(guest, address), flush);
        t.is((await guest.get(address)).status, 200, flush);
      }
    } finally {
      await guest.sh('systemctl start sitegen-idle.timer');
    }
    t.regex(await guest.sh(`journalctl --sync; journalctl -u sitegen-idle -o cat --since @${since}`), /rules of the sites were gone, and are back/);
  });
});

/** What somebody does to Docker, and whether the container has the time to end by itself. */
const faults: [title: string, script: (name: string) => string, clean: boolean][] = [
  ['docker stop', (name) => `docker stop ${name}`, true],
  ['docker restart', (name) => `docker restart ${name}`, true],
  ['systemctl restart docker', () => 'systemctl restart docker', true],
  ['sitegen stop', () => 'sitegen stop frozen.example.com', true],
  ['sitegen restart', () => 'sitegen restart frozen.example.com', true],
  ['docker kill', (name) => `docker kill ${name}`, false],
  ['docker rm -f', (name) => `docker rm -f ${name}`, false],
];

for (const [title, script, clean] of faults) {
  (title === 'docker stop' ? newestTest : longTest)(`the next hit works after ${title} of a frozen site${clean ? ', which has ended cleanly' : ''}`, async (t, guest) => {
    const domain = 'frozen.example.com';
    await withSite(guest, domain, async () => {
      const address = await frozen(t, guest, domain);
      await guest.sh(`{ ${script(`site-${domain}`)}; } >/dev/null`);
      await guest.sh('until systemctl is-active --quiet docker; do sleep 0.1; done');
      const hit = await guest.get(address);
      t.is(hit.status, 200);
      t.is(await stateOf(guest, domain), 'awake');
      t.is((await guest.get(address)).status, 200);
      t.is(await guest.sh(`cat ${dataOf(domain)}/ends`), clean ? 'clean' : 'unclean');
    });
  });
}

newestTest('a reboot ends a frozen site cleanly, and a dump, a command and a removal thaw it', async (t, guest) => {
  const domain = 'frozen.example.com';
  await withSite(guest, domain, async () => {
    const address = await frozen(t, guest, domain, 'dump: {command: [echo, all of it]}\n');
    t.is((await guest.sitegen('backup', domain)).code, 0);
    t.is(await stateOf(guest, domain), 'frozen', 'it is frozen again after the dump');
    await guest.reboot();
    t.is(await stateOf(guest, domain), 'asleep');
    t.is(await guest.sh(`cat ${dataOf(domain)}/ends`), 'clean');
    t.is((await guest.get(address)).status, 200);
    await freezeNow(guest, domain);
    t.is((await guest.sitegen('exec', domain, '--', 'echo', 'hello')).stdout, 'hello\n');
    await freezeNow(guest, domain);
    t.is((await guest.sitegen('remove', '--yes', domain)).code, 0);
    t.is(await guest.sh(`cat ${dataOf(domain)}/ends`), 'clean\nclean');
    // Units without a file that systemd has had in mind since the boot, as sockets.target wanted them, do not count.
    t.is(await guest.sh(`systemctl list-units --all --plain --no-legend 'site-frozen*' | awk '$3 $4 != "inactivedead"'; find /etc/systemd/system -name 'site-frozen*'`), '');
  });
});

/** Adds a site, visits it, and has it frozen. Gives its address. */
async function frozen(t: ExecutionContext, guest: Guest, domain: string, more = ''): Promise<string> {
  const address = await addIdle(guest, domain, 'after: 1s', more);
  t.is((await guest.get(address)).status, 200);
  await freezeNow(guest, domain);
  return address;
}

async function freezeNow(guest: Guest, domain: string): Promise<void> {
  await until(`${domain} is frozen`, async () => {
    await round(guest);
    return await stateOf(guest, domain) === 'frozen';
  }, 60_000, 1000);
}
