import type { ExecutionContext } from 'ava';
import { startDns } from './_dns.ts';
import { type Guest, guestTest, longTest } from './_guest.ts';
import { write } from './_machine.ts';
import { point, stopPebble } from './_pebble.ts';

/** As `sitegen doctor --json` prints it. */
interface FindingJson {
  id: string;
  severity: 'ok' | 'warning' | 'error';
  domain: string | null;
  found: string;
  advice: string | null;
  fixable: boolean;
  ignored: string | null;
}
interface DoctorJson {
  findings: FindingJson[];
  fixed: string[];
  failed: string[];
}

/** Something that goes wrong: how it is planted, what has to be found, and how it is taken away where `--fix` does not. */
interface Fault {
  what: string;
  id: string;
  severity: 'warning' | 'error';
  found: RegExp;
  plant: string;
  mend?: string;
  /** What `--fix` says that it did. */
  fixed?: RegExp;
}

const domain = 'sick.example.com';
const settings = '/etc/sitegen/sitegen.yaml';
const quiet = 'acme: {enabled: false}\n';
const pristine = `cp /usr/src/sitegen/templates/sitegen.yaml ${settings}; chmod 600 ${settings}`;

async function doctor(guest: Guest, ...args: string[]): Promise<DoctorJson & { code: number }> {
  const { code, stdout, stderr } = await guest.sitegen('doctor', '--json', ...args);
  if (!stdout.startsWith('{')) throw new Error(`doctor ${args.join(' ')}: ${stderr}`);
  return { code, ...JSON.parse(stdout) as DoctorJson };
}

const matching = ({ findings }: DoctorJson, { id, severity, found }: Fault) => findings.filter((each) => each.id === id && each.severity === severity && found.test(each.found));

/** Plants faults one after another, and sees each found, and put right where that is safe. */
async function plantAll(t: ExecutionContext, guest: Guest, faults: readonly Fault[], ...args: string[]): Promise<void> {
  const before = await doctor(guest, ...args);
  for (const fault of faults) {
    const { what, id, severity, plant, mend, fixed } = fault;
    t.deepEqual(matching(before, fault), [], `${what}: it was there before`);
    await guest.sh(plant);
    try {
      const seen = await doctor(guest, ...args);
      const [finding] = matching(seen, fault);
      t.truthy(finding, `${what}: ${JSON.stringify(seen.findings.filter((each) => each.id === id))}`);
      t.truthy(finding?.advice, what);
      t.is(finding?.fixable, fixed !== undefined, what);
      t.is(seen.code, severity === 'error' || seen.findings.some((each) => each.severity === 'error') ? 2 : 1, what);
      if (!fixed) continue;
      const after = await doctor(guest, '--fix', ...args);
      t.true(after.fixed.some((line) => fixed.test(line)), `${what}: ${JSON.stringify([after.fixed, after.failed])}`);
      t.deepEqual(matching(after, fault), [], `${what}: it is still there`);
    } finally {
      if (mend !== undefined) await guest.sh(mend);
    }
  }
  const after = await doctor(guest, ...args);
  t.deepEqual(faults.filter((fault) => matching(after, fault).length > 0).map(({ what }) => what), [], 'nothing of it stays');
}

const small = (options: string) => `mkdir -p /run/small; mount -t tmpfs -o ${options} none /run/small; cp -a /etc/sitegen/. /run/small/; mount --bind /run/small /etc/sitegen`;
const whole = 'umount /etc/sitegen; umount /run/small';

const machineFaults: readonly Fault[] = [
  { what: 'another system', id: 'operating-system', severity: 'warning', found: /Arch.*never tried/, plant: 'printf "ID=arch\\nPRETTY_NAME=Arch\\n" >/run/os; mount --bind /run/os "$(readlink -f /etc/os-release)"', mend: 'umount "$(readlink -f /etc/os-release)"' },
  { what: 'a program is missing', id: 'programs', severity: 'error', found: /missing: .*busybox/, plant: 'mv /usr/bin/busybox /usr/bin/busybox.aside', mend: 'mv /usr/bin/busybox.aside /usr/bin/busybox' },
  { what: 'the clock was set back', id: 'clock', severity: 'error', found: /was written on/, plant: `touch -d '+2 hours' ${settings}`, mend: `touch ${settings}` },
  { what: 'updates wait', id: 'reboot-required', severity: 'warning', found: /linux-image-test/, plant: 'touch /run/reboot-required; echo linux-image-test >/run/reboot-required.pkgs', mend: 'rm /run/reboot-required*' },
  { what: 'sites may hold more than there is', id: 'memory', severity: 'warning', found: /may hold .*machine has/, plant: `echo 'machine: {memory: 100T}' >>${settings}`, mend: pristine },
  { what: 'a small disk', id: 'disk-space', severity: 'error', found: /free below \/etc\/sitegen/, plant: small('size=2M'), mend: whole },
  { what: 'no inodes', id: 'inodes', severity: 'error', found: /^0 of \d+ inodes/, plant: `${small('size=2M,nr_inodes=100')}; for n in $(seq 200); do touch /etc/sitegen/x$n 2>/dev/null || break; done`, mend: whole },
  { what: 'a read-only disk', id: 'disk-writable', severity: 'error', found: /with .*\/etc\/sitegen.* read-only/, plant: 'mount --bind /etc/sitegen /etc/sitegen; mount -o remount,bind,ro /etc/sitegen', mend: 'umount /etc/sitegen' },
  { what: 'wrong settings of the machine', id: 'settings', severity: 'error', found: /bogus: unknown key/, plant: `echo 'bogus: 1' >>${settings}`, mend: pristine },
  { what: 'settings that all can read', id: 'file-modes', severity: 'error', found: /sitegen\.yaml has mode 644/, plant: `chmod 644 ${settings}`, fixed: /^chmod 600 .*sitegen\.yaml/ },
  { what: 'keys that all can read', id: 'file-modes', severity: 'error', found: /acme has mode 755/, plant: 'chmod 755 /var/lib/sitegen/acme', fixed: /^chmod 700 .*acme/ },
  { what: 'a unit is gone', id: 'units', severity: 'error', found: /sitegen-dump@\.timer is missing/, plant: 'rm /usr/lib/systemd/system/sitegen-dump@.timer', fixed: /^put sitegen-dump@\.timer back/ },
  { what: 'a timer does not run', id: 'units', severity: 'error', found: /sitegen-renew\.timer is inactive/, plant: 'systemctl stop sitegen-renew.timer', fixed: /^started sitegen-renew\.timer/ },
  { what: 'a timer is not started at boot', id: 'units', severity: 'error', found: /sitegen-stats\.timer is not started at boot/, plant: 'rm /etc/systemd/system/timers.target.wants/sitegen-stats.timer', fixed: /^enabled sitegen-stats\.timer/ },
  { what: 'an edited unit', id: 'units', severity: 'warning', found: /sitegen-pull\.service is not as it was/, plant: 'echo "# mine" >>/usr/lib/systemd/system/sitegen-pull.service', mend: 'cp /usr/lib/sitegen/units/sitegen-pull.service /usr/lib/systemd/system/; systemctl daemon-reload' },
  { what: 'a unit of the admin\'s in place of ours', id: 'units', severity: 'warning', found: /another sitegen-pull\.service stands in/, plant: 'cp /usr/lib/systemd/system/sitegen-pull.service /etc/systemd/system/; systemctl daemon-reload', mend: 'systemctl revert sitegen-pull.service' },
  { what: 'units that systemd has not read', id: 'daemon-reload', severity: 'warning', found: /sitegen-renew\.timer/, plant: 'sleep 1; touch /usr/lib/systemd/system/sitegen-renew.timer', fixed: /^reloaded systemd/ },
  { what: 'a failed unit', id: 'failed-units', severity: 'error', found: /sitegen-planted\.service has failed$/, plant: 'systemd-run --quiet --unit sitegen-planted.service false; sleep 1', mend: 'systemctl reset-failed sitegen-planted.service' },
  { what: 'a failed unit that is gone', id: 'failed-units', severity: 'warning', found: /sitegen-gone\.service has failed, and is gone/, plant: 'printf "[Service]\\nExecStart=/bin/false\\n" >/run/systemd/system/sitegen-gone.service; systemctl daemon-reload; systemctl start sitegen-gone.service; sleep 1; rm /run/systemd/system/sitegen-gone.service; systemctl daemon-reload', mend: 'systemctl reset-failed sitegen-gone.service 2>/dev/null || true', fixed: /forgot the failure of sitegen-gone/ },
  { what: 'alerts to a program that is missing', id: 'alerts', severity: 'error', found: /\/nonexistent is missing/, plant: `echo 'alerts: {command: [/nonexistent]}' >>${settings}`, mend: pristine },
  { what: 'a lock that nobody holds', id: 'locks', severity: 'error', found: /planted\.lock says that somebody works/, plant: 'echo x >/run/sitegen/sites/planted.lock', mend: 'rm /run/sitegen/sites/planted.lock', fixed: /emptied .*planted\.lock/ },
  { what: 'an open alarm', id: 'alarms', severity: 'warning', found: /sitegen-planted2\.service since 2026-01-02 03:04: planted/, plant: `systemd-run --quiet --unit sitegen-planted2.service false; sleep 1
    echo '{"unit":"sitegen-planted2.service","since":"2026-01-02T03:04:05Z","last":"2026-01-02T03:04:05Z","sent":null,"count":1,"reason":"planted"}' >/var/lib/sitegen/alarms/sitegen-planted2.service.json`, mend: 'systemctl reset-failed sitegen-planted2.service; rm -f /var/lib/sitegen/alarms/sitegen-planted2.service.json' },
];

/** In a container the kernel's own limits may belong to its host; then `--fix` cannot raise them. */
const limitFault: Fault = { what: 'a limit is too low', id: 'kernel-limits', severity: 'warning', found: /max_user_instances is \d+, and 99999999/, plant: 'echo "fs.inotify.max_user_instances = 99999999" >>/usr/lib/sysctl.d/60-sitegen.conf', mend: 'cp /usr/src/sitegen/units/60-sitegen.conf /usr/lib/sysctl.d/' };

longTest('what is wrong with the machine is found, and put right where that is safe', async (t, guest) => {
  await guest.sh(`${pristine}; systemctl daemon-reload`);
  await plantAll(t, guest, machineFaults);
  await guest.sh(limitFault.plant);
  try {
    t.is(matching(await doctor(guest), limitFault).length, 1);
  } finally {
    await guest.sh(limitFault.mend ?? '');
  }
});

const networkFaults: readonly Fault[] = [
  { what: 'Docker is down', id: 'docker', severity: 'error', found: /./, plant: 'systemctl stop docker.socket docker.service', fixed: /started docker\.service/, mend: 'systemctl start docker.socket docker.service sitegen-shutdown.service' },
  { what: 'Docker manages cgroups itself', id: 'docker-cgroup', severity: 'error', found: /"cgroupfs"/, plant: 'cp /etc/docker/daemon.json /run/daemon.json 2>/dev/null || echo "{}" >/run/daemon.json; jq \'. + {"exec-opts": ["native.cgroupdriver=cgroupfs"]}\' /run/daemon.json >/etc/docker/daemon.json; systemctl restart docker', mend: 'cp /run/daemon.json /etc/docker/daemon.json; systemctl restart docker' },
  { what: 'Docker\'s network is gone', id: 'docker-network', severity: 'error', found: /missing/, plant: 'docker network rm sitegen >/dev/null', fixed: /made Docker's network/ },
  { what: 'somebody has a part of a range', id: 'address-ranges', severity: 'error', found: /in use by a route through lo/, plant: 'ip route add 10.214.99.0/24 dev lo', mend: 'ip route del 10.214.99.0/24 dev lo' },
  { what: 'the rules are gone', id: 'rules', severity: 'error', found: /missing or differ/, plant: 'nft delete table inet sitegen', fixed: /route and firewall rules/ },
  { what: 'the route is gone', id: 'rules', severity: 'error', found: /missing or differ/, plant: 'ip route del local 10.213.0.0/16 dev lo', fixed: /route and firewall rules/ },
  { what: 'nothing is forwarded', id: 'ip-forward', severity: 'error', found: /off/, plant: 'echo 0 >/proc/sys/net/ipv4/ip_forward', fixed: /ip_forward on/ },
  { what: 'an nftables chain drops', id: 'firewall', severity: 'warning', found: /inet planted input drops/, plant: 'nft add table inet planted; nft add chain inet planted input "{ type filter hook input priority 50; policy drop; }"; nft add rule inet planted input iif lo accept; nft add rule inet planted input tcp dport 22 accept', mend: 'nft delete table inet planted' },
  { what: 'ufw lets ssh in alone', id: 'firewall', severity: 'error', found: /ufw keeps visitors of port 80, 443 out/, plant: 'ufw allow 22/tcp >/dev/null; ufw --force enable >/dev/null', mend: 'ufw --force disable >/dev/null; ufw --force reset >/dev/null; systemctl restart docker; sitegen apply --quiet' },
  { what: 'firewalld as it comes', id: 'firewall', severity: 'error', found: /firewalld keeps visitors of port 80, 443 out/, plant: 'systemctl start firewalld', mend: 'systemctl stop firewalld; systemctl restart docker; sitegen apply --quiet' },
  { what: 'nobody listens for the router', id: 'ports', severity: 'error', found: /nobody listens/, plant: 'systemctl stop sitegen-router.socket sitegen-router.service', fixed: /started sitegen-router\.service/ },
  { what: 'another web server has the ports', id: 'ports', severity: 'error', found: /socat.* has port 80 or 443/, plant: 'systemctl stop sitegen-router.socket sitegen-router.service; systemd-run --quiet --unit planted-443 socat TCP-LISTEN:443,fork /dev/null; sleep 1', mend: 'systemctl stop planted-443; sitegen apply --quiet' },
  { what: 'the router knows other maps', id: 'router', severity: 'warning', found: /entries of its maps/, plant: 'echo "clear map /var/lib/sitegen/router/maps/names.map" | socat -t5 - UNIX:/run/sitegen-router/admin.sock', fixed: /corrected \d+ entries/ },
  { what: 'the authority cannot be reached', id: 'acme', severity: 'error', found: /^127\.0\.0\.1 cannot be reached/, plant: `printf 'acme: {directory: "https://127.0.0.1:1/dir"}\\n' >${settings}`, mend: `printf '${quiet.trim()}\\n' >${settings}` },
];

longTest('what is wrong with Docker and the network is found, and put right where that is safe', async (t, guest) => {
  await write(guest, settings, quiet);
  await guest.site(domain);
  try {
    await plantAll(t, guest, networkFaults);
  } finally {
    await guest.sh(`${pristine}; sitegen apply --quiet`);
  }
});

const state = (json: string) => `mkdir -p /var/lib/sitegen/backup; echo '${json}' >/var/lib/sitegen/backup/${domain}.json`;
const noState = `rm -f /var/lib/sitegen/backup/${domain}.json`;
const servers = (...urls: string[]) => `{ echo 'acme: {enabled: false}'; echo 'backup:'; echo '  address: 8.8.8.8'; echo '  servers:'; key="$(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)"; ${urls.map((url) => `echo "    - {url: '${url}', hostKey: '$key'}"`).join('; ')}; } >${settings}`;
const stranger = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl';
const plain = `printf '%s\\nbackup: {address: 8.8.8.8}\\n' 'acme: {enabled: false}' >${settings}`;

const siteFaults: readonly Fault[] = [
  { what: 'a name leads elsewhere', id: 'dns', severity: 'warning', found: /^sick\.example\.com: leads to 9\.9\.9\.9, and not/, plant: `curl -s -d '{"host":"${domain}."}' http://127.0.0.1:8055/clear-a; curl -s -d '{"host":"${domain}.","addresses":["9.9.9.9"]}' http://127.0.0.1:8055/add-a`, mend: `curl -s -d '{"host":"${domain}."}' http://127.0.0.1:8055/clear-a; curl -s -d '{"host":"${domain}.","addresses":["8.8.8.8"]}' http://127.0.0.1:8055/add-a` },
  { what: 'a name has no address', id: 'dns', severity: 'warning', found: /^nowhere\.example\.com: has no address/, plant: `sed -i '1i aliases: [nowhere.example.com]' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet`, mend: `sed -i '/^aliases/d' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet` },
  { what: 'it has no certificate', id: 'certificate', severity: 'warning', found: /has none, and a self-signed one serves/, plant: `sed -i 's/^certificate: none/certificate: manual/' /etc/sitegen/sites/${domain}.yaml`, mend: `sed -i 's/^certificate: manual/certificate: none/' /etc/sitegen/sites/${domain}.yaml` },
  { what: 'its settings are wrong', id: 'settings', severity: 'error', found: /planted: unknown key/, plant: `echo 'planted: 1' >>/etc/sitegen/sites/${domain}.yaml`, mend: `sed -i '/^planted/d' /etc/sitegen/sites/${domain}.yaml` },
  { what: 'its data are gone', id: 'site', severity: 'error', found: /data directory is missing/, plant: `mv /var/lib/sitegen/sites/${domain} /root/planted`, mend: `mv /root/planted /var/lib/sitegen/sites/${domain}` },
  { what: 'its socket does not listen', id: 'site', severity: 'error', found: /does not listen/, plant: `systemctl stop site-${domain}.socket`, fixed: /sick\.example\.com: applied/ },
  { what: 'its unit was changed', id: 'drift', severity: 'warning', found: /to do: /, plant: `echo '# mine' >>/etc/systemd/system/site-${domain}.service`, fixed: /sick\.example\.com: applied/ },
  { what: 'its container is gone', id: 'drift', severity: 'warning', found: /create container/, plant: `docker rm -f site-${domain} >/dev/null`, fixed: /sick\.example\.com: applied/ },
  { what: 'its dump failed', id: 'backup', severity: 'error', found: /planted failure/, plant: state('{"error":"planted failure"}'), mend: noState },
  { what: 'its restore failed', id: 'rehearsal', severity: 'error', found: /failed on 2026-01-02: planted/, plant: `${servers('ssh://b@127.0.0.1:1/x')}; ${state('{"commit":"c0","committedAt":"2026-01-02T00:00:00Z","dumpedAt":"2026-01-02T00:00:00Z","rehearsals":{"ssh://b@127.0.0.1:1/x":{"at":"2026-01-02T00:00:00Z","commit":"c0","error":"planted"}}}')}`, mend: `${noState}; ${plain}` },
];

guestTest('what is wrong with a site is found, and put right where that is safe', async (t, guest) => {
  await startDns(guest);
  try {
    await guest.sh(plain);
    await point(guest, '8.8.8.8', domain);
    await guest.site(domain);
    // Or every site would be without one here, as no authority is asked.
    await guest.sh(`echo 'certificate: none' >>/etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet`);
    await plantAll(t, guest, siteFaults, domain);
    t.is((await guest.sitegen('doctor', 'nobody.example.com')).code, 1);
    t.true((await doctor(guest, domain)).findings.every(({ id }) => !['kernel', 'docker', 'left-overs'].includes(id)), 'nothing of the machine');
  } finally {
    await stopPebble(guest);
    await guest.sh(`${noState}; ${pristine}`);
  }
});

guestTest('left-overs and backup servers are looked at for all sites together', async (t, guest) => {
  await write(guest, settings, quiet);
  await guest.site(domain);
  try {
    await plantAll(t, guest, [
      { what: 'both servers are one', id: 'backup-servers', severity: 'warning', found: /two of them are on 127\.0\.0\.1/, plant: servers('ssh://b@127.0.0.1:1/x', 'ssh://b@127.0.0.1:2/y'), mend: plain },
      { what: 'a server does not answer', id: 'backup-reachable', severity: 'error', found: /refused|closed/i, plant: servers('ssh://b@127.0.0.1:1/x', 'ssh://b@127.0.0.2:1/y'), mend: plain },
      { what: 'a server has another host key', id: 'backup-reachable', severity: 'error', found: /host key/i, plant: `printf "acme: {enabled: false}\\nbackup:\\n  servers:\\n    - {url: 'ssh://b@127.0.0.1/x', hostKey: '${stranger}'}\\n" >${settings}; systemctl start ssh`, mend: plain },
      { what: 'a site\'s settings are gone', id: 'left-overs', severity: 'warning', found: /sick\.example\.com has units/, plant: `mv /etc/sitegen/sites/${domain}.yaml /root/planted.yaml`, fixed: /sick\.example\.com: applied/, mend: `mv /root/planted.yaml /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet` },
    ]);
  } finally {
    await guest.sh(pristine);
  }
});

guestTest('what is ignored with a reason counts no more, and is still shown', async (t, guest) => {
  await write(guest, settings, quiet);
  try {
    const before = await doctor(guest);
    const ids = [...new Set(before.findings.filter(({ severity }) => severity !== 'ok').map(({ id }) => id))];
    t.true(ids.includes('backup-servers'));
    t.not(before.code, 0);
    await write(guest, settings, `${quiet}doctor:\n  ignore:\n${ids.map((id) => `    ${id}: it is but a test\n`).join('')}`);
    const after = await doctor(guest);
    t.deepEqual(after.findings.filter(({ severity, ignored }) => severity !== 'ok' && ignored === null), []);
    t.is(after.code, 0);
    const { stdout, code } = await guest.sitegen('doctor');
    t.is(code, 0);
    t.regex(stdout, /^ignored {2}backup-servers +none: .*\n +ignored: it is but a test$/m);
    t.regex(stdout, /^ok {7}kernel +Linux/m);
  } finally {
    await guest.sh(pristine);
  }
});
