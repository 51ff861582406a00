import { long, longTest, until, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';

/** A site that holds 30 MiB, which the kernel can write nowhere but to swap. */
const heavy = {
  Dockerfile: ['FROM scratch', 'COPY busybox start /bin/', 'COPY index.html /www/', 'STOPSIGNAL SIGKILL', 'CMD ["/bin/start"]', ''].join('\n'),
  'index.html': 'here\n',
  // It listens first: a container that is not ready within two seconds is waited for by a slower program.
  start: ['#!/bin/busybox sh', '/bin/busybox httpd -p 80 -h /www', '/bin/busybox dd if=/dev/zero of=/dev/shm/held bs=1M count=30 2>/dev/null', 'exec /bin/busybox sleep 1000000', ''].join('\n'),
};

/** An emulated machine takes half a minute to start a container. */
const [room, count] = long ? [5, 20] : [2, 3];
const domains = Array.from({ length: count }, (_, index) => `m${String(index + 1).padStart(2, '0')}.example.com`);
const slice = '/sys/fs/cgroup/site.slice';
const MiB = 1024 ** 2;
/** The test has the rounds of this timer itself, one after each visit: an emulated machine would do nothing else. */
const timer = 'sitegen-idle.timer';

longTest(`of ${count} sites that are visited in turn, as many run as the budget has room for, and all answer`, async (t, guest) => {
  if (!(await guest.sh('cat /sys/fs/cgroup/cgroup.controllers')).split(' ').includes('memory')) {
    throw new Error(`${guest.name} does not count memory: this test needs a virtual machine, ./scripts/lab up --vm`);
  }
  await buildImage(guest, 'test/heavy:1', heavy);
  const began = await guest.sh(`cp -a /etc/sitegen/sitegen.yaml /root/sitegen.yaml.before; mkdir -p /run/systemd/system/${timer}.d
    printf '[Timer]\\nOnActiveSec=\\nOnUnitInactiveSec=\\nOnActiveSec=1d\\n' >/run/systemd/system/${timer}.d/rare.conf; systemctl daemon-reload; date +%s.%N`, { timeoutMs: 300_000 });
  try {
    const listens = await guest.sh(`for domain in ${domains.join(' ')}; do
        printf 'domain: %s\\nimage: test/heavy:1\\ncertificate: none\\nready: {timeout: 3min}\\nstop: {timeout: 1s}\\nidle: {after: 12h}\\nbackup: false\\n' $domain >/etc/sitegen/sites/$domain.yaml
      done; sitegen apply --quiet >&2
      for domain in ${domains.join(' ')}; do sed -n 's/^ListenStream=//p' /etc/systemd/system/site-$domain.socket; done`, { timeoutMs: 900_000 });
    const addresses = new Map(listens.split('\n').map((listen, index) => [domains[index] ?? '', listen.replace(/:80$/, '')]));
    t.is(addresses.size, count);
    /** Visits sites at once, and waits until the machine is at rest and has seen them. */
    const visit = async (...visited: string[]) => {
      const from = Date.now();
      t.deepEqual(await answersOf(guest, visited.map((domain) => addresses.get(domain) ?? '')), visited.map(() => 'here'));
      const answered = Date.now();
      const state = await seenBy(guest, visited);
      t.log(`${visited.join(' and ')}: answered after ${seconds(from, answered)}, at rest after ${seconds(from, Date.now())}; ${state.running.length} run, and hold ${Math.round(state.held / MiB)} MiB`);
      return state;
    };

    const [first = '', second = '', ...others] = domains;
    const one = (await visit(first)).held;
    t.true(one > 30 * MiB, `${one} bytes`);
    const budget = Math.round((room + 0.5) * one);
    // In force from the next look on.
    await guest.sh(`printf 'machine: {memory: "%s"}\n' ${budget} >>/etc/sitegen/sitegen.yaml`);

    t.log('each of them answers, and those that were used last go on running');
    // The first one comes twice: what it needs is known then, so that others make room before it starts.
    const order = [first, second, ...others, first];
    for (let turn = 1; turn < order.length; turn++) {
      const { running, held, told } = await visit(order[turn] ?? '');
      t.is(told, budget);
      t.deepEqual(running, order.slice(0, turn + 1).slice(-running.length).sort(), 'the least recently used ones sleep');
      t.true(running.length >= Math.min(room - 1, turn + 1) && running.length <= room, `${running.length} run`);
      t.true(held <= budget, `${held} of ${budget} bytes`);
    }
    const askers = () => guest.sh(`journalctl --sync; journalctl --since @${began} -o cat -g 'memory is short' _SYSTEMD_UNIT=site-${first}.service || true`);
    t.regex(await askers(), /memory is short/);

    t.log('of two that start at once and fit one by one, the second one knows what the first will take');
    await guest.sh(`systemctl stop site-${first}.service`, { timeoutMs: 300_000 });
    const { running, held } = await visit(first, second);
    t.true(running.includes(first) && running.includes(second) && held <= budget, `${running.join(' ')} hold ${held} bytes`);
    const reserved = await guest.sh(`journalctl --sync; journalctl --since @${began} -o cat -g 'memory is short.*those that start with it' _SYSTEMD_UNIT=site-${first}.service + _SYSTEMD_UNIT=site-${second}.service`);
    t.is(reserved.split('\n').length, 1, reserved);

    t.log('nobody was killed for memory, and nobody but that one was put to sleep for anything else');
    const causes = await guest.sh(`journalctl --since @${began} -o json --output-fields=SITEGEN_CAUSE SITEGEN_TO=asleep | jq -r .SITEGEN_CAUSE | sort -u`);
    t.is(causes, 'memory\nstop');
    t.is(await guest.sh(`journalctl -k --since @${began} -o cat | grep -c oom-kill: || true; sed -n 's/^oom_kill //p' ${slice}/memory.events`), '0\n0');
    t.is(await guest.sh("systemctl list-units --state=failed --no-legend --plain 'site*' | cut -d' ' -f1"), '');
  } finally {
    await guest.sh(`rm -r /run/systemd/system/${timer}.d; systemctl daemon-reload; mv /root/sitegen.yaml.before /etc/sitegen/sitegen.yaml; rm -f ${domains.map((domain) => `/etc/sitegen/sites/${domain}.yaml`).join(' ')}
      sitegen apply --quiet; rm -rf ${domains.map((domain) => `/var/lib/sitegen/sites/${domain}`).join(' ')}`, { timeoutMs: 900_000 });
  }
});

const seconds = (from: number, until: number) => `${Math.round((until - from) / 1000)} s`;

/** What addresses answer that are visited at the same time. */
async function answersOf(guest: Guest, addresses: readonly string[]): Promise<string[]> {
  // curl would take most of an emulated machine.
  return (await guest.sh(`for address in ${addresses.join(' ')}; do busybox wget -q -T 200 -O - http://$address/ || echo nothing & done; wait`, { timeoutMs: 300_000 })).split('\n');
}

interface State {
  /** Sites whose containers run, in the order of their names. */
  running: string[];
  /** What all sites hold, without pages that the kernel can read again. */
  held: number;
  /** What wakes know of the budget. */
  told: number;
}

/** Waits until nobody makes room any more, and a look after that has seen these sites: each is used at a time of its own, and what it holds is known. */
async function seenBy(guest: Guest, visited: readonly string[]): Promise<State> {
  const from = await guest.sh('cut -d" " -f1 /proc/uptime');
  let state: State | undefined;
  await until('a look has seen them', async () => {
    const [current = '', cached = '', told = '', at = '', ...running] = (await guest.sh(`
      for domain in ${visited.join(' ')}; do until [ $(cat ${slice}/site-$domain.slice/memory.current) -gt ${30 * MiB} ]; do sleep 1; done; done
      while [ -n "$(systemctl list-units --plain --no-legend --state=activating 'sitegen-room@*' sitegen-idle.service)" ]; do sleep 1; done
      systemctl start sitegen-idle.service
      cat ${slice}/memory.current; sed -n 's/^inactive_file //p' ${slice}/memory.stat; cut -d' ' -f1 /run/sitegen/budget
      jq '[.seen[${visited.map((domain) => `"${domain}"`).join(', ')}].at // 0] | min' /run/sitegen/idle.json
      docker ps --format '{{.Names}}' | sed -n 's/^site-//p' | sort`, { timeoutMs: 300_000 })).split('\n');
    state = { running: running.filter((line) => line !== ''), held: Number(current) - Number(cached), told: Number(told) };
    return Number(at) > Number(from) * 1000;
  }, 60_000, 500);
  if (!state) throw new Error('nothing was seen');
  return state;
}
