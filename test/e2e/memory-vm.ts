import { guestTest, until, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';

/** A site that holds 30 MiB, which the kernel can write nowhere but to swap. */
const heavy = {
  Dockerfile: ['FROM scratch', 'COPY busybox start /bin/', 'COPY index.html /www/', 'STOPSIGNAL SIGKILL', 'CMD ["/bin/start"]', ''].join('\n'),
  'index.html': 'here\n',
  start: ['#!/bin/busybox sh', '/bin/busybox dd if=/dev/zero of=/dev/shm/held bs=1M count=30 2>/dev/null', 'exec /bin/busybox httpd -f -p 80 -h /www', ''].join('\n'),
};

const domains = Array.from({ length: 20 }, (_, index) => `m${String(index + 1).padStart(2, '0')}.example.com`);
const slice = '/sys/fs/cgroup/site.slice';

guestTest('of 20 sites that are visited in turn, as many run as the budget has room for, and all answer', async (t, guest) => {
  if (!(await guest.sh('cat /sys/fs/cgroup/cgroup.controllers')).split(' ').includes('memory')) {
    throw new Error(`${guest.name} does not count memory: this test needs a virtual machine, ./scripts/lab up --vm`);
  }
  await buildImage(guest, 'test/heavy:1', heavy);
  const began = await guest.sh('cp -a /etc/sitegen/sitegen.yaml /root/sitegen.yaml.before; date +%s.%N');
  try {
    await guest.sh(`for domain in ${domains.join(' ')}; do
        printf 'domain: %s\\nimage: test/heavy:1\\ncertificate: none\\nready: {timeout: 3min}\\nstop: {timeout: 1s}\\nidle: {after: 12h}\\nbackup: false\\n' $domain >/etc/sitegen/sites/$domain.yaml
      done; sitegen apply --quiet`, { timeoutMs: 600_000 });
    const { stdout } = await guest.run(['sitegen', 'list', '--json'], { timeoutMs: 120_000 });
    const addresses = new Map((JSON.parse(stdout) as { domain: string; address: string }[]).map(({ domain, address }) => [domain, address]));
    const visit = async (domain: string) => {
      const { status, body, seconds } = await guest.get(addresses.get(domain) ?? '', { timeoutS: 200 });
      t.deepEqual([status, body], [200, 'here\n'], domain);
      // So that each was used at a time of its own, and what it holds is known.
      await until('others have made room', async () => await guest.sh("systemctl list-units --plain --no-legend --state=activating 'sitegen-room@*'") === '', 120_000, 500);
      await guest.sh('systemctl start sitegen-idle.service');
      const [running, held] = [await runningOf(guest), await heldBy(guest)];
      t.log(`${domain} after ${seconds} s: ${running.length} run, and hold ${Math.round(held / 1024 ** 2)} MiB`);
      return { running, held };
    };

    const [first = '', ...others] = domains;
    const one = (await visit(first)).held;
    t.true(one > 30 * 1024 ** 2, `${one} bytes`);
    const budget = Math.round(5.5 * one);
    await guest.sh(`printf 'machine: {memory: "%s"}\n' ${budget} >>/etc/sitegen/sitegen.yaml; sitegen apply --quiet`, { timeoutMs: 120_000 });
    t.is(await guest.sh('cat /run/sitegen/budget'), String(budget));

    t.log('each of them answers, and those that were used last go on running');
    for (const [index, domain] of others.entries()) {
      const { running, held } = await visit(domain);
      t.deepEqual(running, domains.slice(0, index + 2).slice(-running.length), 'the least recently used ones sleep');
      t.true(running.length >= Math.min(4, index + 2) && running.length <= 5, `${running.length} run`);
      t.true(held <= budget, `${held} of ${budget} bytes`);
    }
    t.log('one that was put to sleep answers again');
    t.true((await visit(first)).running.includes(first));

    const journal = await guest.sh(`journalctl --sync; journalctl --since @${began} -o cat _SYSTEMD_UNIT=site-${domains.at(-1) ?? ''}.service + SITEGEN_DOMAIN=${domains[1] ?? ''}`);
    t.regex(journal, /memory is short/);
    const causes = await guest.sh(`journalctl --since @${began} -o json --output-fields=SITEGEN_CAUSE SITEGEN_TO=asleep | jq -r .SITEGEN_CAUSE | sort -u`);
    t.is(causes, 'memory');

    t.log('nobody was killed for memory');
    t.is(await guest.sh(`journalctl -k --since @${began} -o cat | grep -c oom-kill: || true`), '0');
    t.is(await guest.sh(`sed -n 's/^oom_kill //p' ${slice}/memory.events`), '0');
    t.is(await guest.sh("systemctl list-units --state=failed --no-legend --plain 'site*' | cut -d' ' -f1"), '');
  } finally {
    await guest.sh(`mv /root/sitegen.yaml.before /etc/sitegen/sitegen.yaml; rm -f ${domains.map((domain) => `/etc/sitegen/sites/${domain}.yaml`).join(' ')}
      sitegen apply --quiet; rm -rf ${domains.map((domain) => `/var/lib/sitegen/sites/${domain}`).join(' ')}`, { timeoutMs: 600_000 });
  }
});

/** Sites whose containers run, in the order of their names. */
async function runningOf(guest: Guest): Promise<string[]> {
  return (await guest.sh("docker ps --format '{{.Names}}' | sed -n 's/^site-//p' | sort")).split('\n').filter((line) => line !== '');
}

/** What all sites hold, without pages that the kernel can read again. */
async function heldBy(guest: Guest): Promise<number> {
  const [current = 0, cached = 0] = (await guest.sh(`cat ${slice}/memory.current; sed -n 's/^inactive_file //p' ${slice}/memory.stat`)).split('\n').map(Number);
  return current - cached;
}
