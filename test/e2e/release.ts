import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { execa } from 'execa';
import { type Guest, guestName, guestTest, lab, longTest, openGuest, type Result, until } from './_guest.ts';
import { bring, buildRelease, type Release } from './_release.ts';
import { ensureServerImage, serverImage } from './_server.ts';

const domain = 'stays.example.com';
const bare = `${guestName}-release`;
const router = 'sitegen-router.service';
const brokenStart = 'ExecStart=/usr/sbin/haproxy -Ws -f /nonexistent.cfg';

let folder = '';
let older: Release;
let newer: Release;

test.before(async (t) => {
  t.timeout(900_000);
  folder = await mkdtemp(path.join(os.tmpdir(), 'sitegen-releases-'));
  older = await buildRelease(folder, '90.1.0');
  // The unit of the router changes, and one that the older version has not, comes.
  newer = await buildRelease(folder, '90.2.0', async (copy) => {
    const unit = path.join(copy, 'units', router);
    await writeFile(unit, `${await readFile(unit, 'utf8')}\n# Of another version.\n`);
    await writeFile(path.join(copy, 'units/sitegen-novel.timer'), '[Timer]\nOnCalendar=yearly\nUnit=sitegen-stats.service\n[Install]\nWantedBy=timers.target\n');
  });
});

test.after.always(() => rm(folder, { recursive: true, force: true }));

/** A machine that sitegen was never on, with both releases in /root. */
async function withMachine(body: (guest: Guest) => Promise<void>): Promise<void> {
  const suite = guestName.includes('bookworm') ? 'bookworm' : 'trixie';
  try {
    await execa(lab, ['up', bare, '--bare', '--suite', suite], { timeout: 300_000 });
    const guest = openGuest(bare);
    for (const release of [older, newer]) await bring(guest, release);
    await body(guest);
  } finally {
    await execa(lab, ['down', bare], { reject: false, timeout: 120_000 });
  }
}

const install = (guest: Guest, version: string, ...options: string[]) => guest.run([`/root/${version}/install.sh`, '--yes', ...options], { timeoutMs: 300_000 });
const dpkg = (guest: Guest, version: string) => guest.run(['dpkg', '--force-confold', '--install', `/root/${version}.deb`], { timeoutMs: 300_000 });

function ok(t: ExecutionContext, { code, stdout, stderr }: Result): string {
  t.is(code, 0, `${stdout}${stderr}`);
  return stdout + stderr;
}

/** A request through the router that is answered after `ms`. */
async function visit(guest: Guest, id: number, ms = 0): Promise<string> {
  const { stdout } = await guest.run(['curl', '--silent', '--show-error', '--insecure', '--max-time', '120', '--resolve', `${domain}:443:127.0.0.1`, '--write-out', '%{http_code}', `https://${domain}/?id=${id}&ms=${ms}`], { timeoutMs: 150_000 });
  return stdout;
}

/** What has to be the same before and after: who serves the site, and since when. */
const serving = (guest: Guest) => guest.sh(`systemctl show -P InvocationID site-${domain}.service site-${domain}.socket sitegen-router.socket; docker inspect --format '{{.Id}} {{.State.StartedAt}}' site-${domain}`);

/** All files of sitegen's outside the folders of versions, with their content, and what is enabled. */
const files = (guest: Guest) => guest.sh(`find /usr/lib/systemd/system /usr/lib/sysctl.d /usr/bin /usr/share/bash-completion /etc/systemd/system \\( -name '*sitegen*' -o -name 'site[.-]*' \\) -type f -exec sha256sum {} + | sort -k2
  find /etc/systemd/system -name '*sitegen*' -type l | sort; readlink /usr/lib/sitegen`);

const idle = (guest: Guest) => until('nobody is connected to the router', async () => await guest.sh(`ss -Htn state established '( sport = :80 or sport = :443 )'`) === '', 60_000);

async function addSite(t: ExecutionContext, guest: Guest): Promise<void> {
  await ensureServerImage(guest);
  await guest.sh("printf 'acme: {enabled: false}\\n' >/etc/sitegen/sitegen.yaml");
  ok(t, await guest.sitegen('add', domain, '--image', serverImage, '--volume', 'data:/data'));
  t.is(await visit(guest, 0), 'GET 0 0\n200');
}

/** Upgrades while a visitor waits for an answer that takes longer than the router's own patience at a restart. */
async function upgradeUnderVisit(t: ExecutionContext, guest: Guest, upgrade: () => Promise<Result>): Promise<void> {
  const before = await serving(guest);
  const slow = visit(guest, 7, 40_000);
  await until('the visitor waits', async () => await guest.sh("ss -Htn state established '( sport = :443 )'") !== '');
  const said = ok(t, await upgrade());
  t.is(await guest.sh('sitegen --version'), newer.version);
  t.regex(said, /sitegen-router\.service has changed and serves somebody just now/);
  t.is(await slow, 'GET 7 0\n200');
  t.is(await serving(guest), before, 'neither the site nor a socket was started anew');
  t.is(await guest.sh('systemctl is-active sitegen-novel.timer; systemctl show -P NeedDaemonReload sitegen-router.service'), 'active\nno');
}

longTest('an archive is checked, installed, and upgraded under a visitor; a version that fails goes back; removed without a trace', async (t) => {
  await withMachine(async (guest) => {
    const untouched = await guest.sh("find /etc /usr /var/lib -xdev -newer /root/90.2.0.deb -type f ! -path '/var/lib/docker/*' ! -path '/var/lib/systemd/*' | sort");
    t.regex(ok(t, await guest.run(['/root/90.1.0/install.sh', '--check'])), /it would work here/);
    t.is(await guest.sh("find /etc /usr /var/lib -xdev -newer /root/90.2.0.deb -type f ! -path '/var/lib/docker/*' ! -path '/var/lib/systemd/*' | sort"), untouched);

    ok(t, await install(guest, older.version));
    t.is(await guest.sh('sitegen --version; systemctl is-enabled sitegen-renew.timer; sysctl -n fs.inotify.max_user_instances'), `${older.version}\nenabled\n4096`);
    t.regex(await guest.sh('cat /var/log/sitegen-install.log'), /install: done/);
    await addSite(t, guest);
    await upgradeUnderVisit(t, guest, () => install(guest, newer.version));
    const good = await files(guest);
    ok(t, await install(guest, newer.version));
    t.is(await files(guest), good, 'once more changes nothing');

    // One file is not as it was packed.
    await guest.sh(`cp -r /root/${newer.version} /root/damaged; echo >>/root/damaged/dist/sitegen.mjs`);
    const damaged = await install(guest, 'damaged');
    t.is(damaged.code, 1);
    t.regex(damaged.stderr, /error: files of this release are damaged/);

    // A router that does not start; the packer did not notice.
    await idle(guest);
    await guest.sh(`cp -r /root/${newer.version} /root/faulty; cd /root/faulty; sed -i 's|^ExecStart=.*|${brokenStart}|' units/${router}; echo 90.3.0 >dist/VERSION; sed -i 's/"${newer.version}"/"90.3.0"/' dist/*.mjs package.json
      find . -type f ! -name SHA256SUMS -print0 | sort -z | xargs -0 sha256sum >SHA256SUMS`);
    const faulty = await install(guest, 'faulty');
    t.not(faulty.code, 0);
    t.regex(faulty.stderr, /it does not work; going back to 90\.2\.0/);
    t.is(await files(guest), good);
    t.is(await guest.sh(`sitegen --version; systemctl is-active ${router}`), `${newer.version}\nactive`);
    t.is(await visit(guest, 1), 'GET 1 0\n200');

    // Settings that only the version in force takes.
    await guest.sh(`cp -r /root/${newer.version} /root/strict; cd /root/strict; sed -i 's/"${newer.version}"/"90.4.0"/' dist/*.mjs package.json; echo 90.4.0 >dist/VERSION; rm -r dist/sitegen.mjs SHA256SUMS
      printf 'if (process.argv[2] === "--version") console.log("90.4.0"); else { console.error("not valid any more"); process.exit(1); }\\n' >dist/sitegen.mjs`);
    const strict = await install(guest, 'strict');
    t.not(strict.code, 0);
    t.regex(strict.stderr, /not valid any more\n.*does not take settings .*nothing was changed/);
    t.is(await files(guest), good);

    const refused = await guest.run([`/root/${newer.version}/install.sh`, '--uninstall']);
    t.is(refused.code, 1);
    t.regex(refused.stderr, /error: there are sites/);
    ok(t, await guest.sitegen('remove', '--purge', '--yes', domain));
    ok(t, await guest.run([`/root/${newer.version}/install.sh`, '--uninstall', '--purge', '--yes'], { timeoutMs: 300_000 }));
    t.is(await guest.sh("find /etc /usr /run /var -xdev -name '*sitegen*' ! -path '/var/lib/docker/*' | sort; getent passwd | grep ^sitegen || true; nft list tables | grep sitegen || true"), '');
  });
});

guestTest('a package is installed, upgraded under a visitor, goes back when it fails, and is removed and purged', async (t) => {
  await withMachine(async (guest) => {
    ok(t, await dpkg(guest, older.version));
    await addSite(t, guest);
    await upgradeUnderVisit(t, guest, () => dpkg(guest, newer.version));
    t.is(await guest.sh('cat /etc/sitegen/sitegen.yaml'), 'acme: {enabled: false}', 'what the admin has written stays');
    const beside = await install(guest, older.version);
    t.is(beside.code, 1);
    t.regex(beside.stderr, /error: sitegen is here as a package of Debian/);

    const good = await files(guest);
    await idle(guest);
    await guest.sh(`cd /root; dpkg-deb -R ${newer.version}.deb bad; cd bad; sed -i 's/^Version: .*/Version: 90.3.0/' DEBIAN/control
      sed -i 's|^ExecStart=.*|${brokenStart}|' usr/share/sitegen/units/${router} usr/lib/systemd/system/${router}; echo 90.3.0 >usr/share/sitegen/VERSION; sed -i 's/"${newer.version}"/"90.3.0"/' usr/share/sitegen/*.mjs
      cd ..; dpkg-deb --root-owner-group -b bad bad.deb >/dev/null`);
    const failed = await dpkg(guest, 'bad');
    t.not(failed.code, 0);
    t.regex(failed.stderr, /it does not work; going back to 90\.2\.0/);
    t.is(await files(guest), good);
    t.is(await visit(guest, 1), 'GET 1 0\n200');
    ok(t, await dpkg(guest, newer.version));
    t.is(await guest.sh("dpkg-query -W -f '${db:Status-Abbrev}${Version}' sitegen"), `ii ${newer.version}`);

    const refused = await guest.run(['dpkg', '--remove', 'sitegen']);
    t.not(refused.code, 0);
    t.regex(refused.stderr, /error: there are sites/);
    t.is(await visit(guest, 2), 'GET 2 0\n200', 'and it serves as before');
    ok(t, await guest.sitegen('remove', domain));
    ok(t, await guest.run(['dpkg', '--remove', 'sitegen'], { timeoutMs: 300_000 }));
    t.is(await guest.sh("cat /etc/sitegen/sitegen.yaml; systemctl list-units --no-legend 'sitegen*'; find /usr /etc/systemd -xdev -name '*sitegen*'"), 'acme: {enabled: false}');
    t.regex(ok(t, await guest.run(['dpkg', '--purge', 'sitegen'])), /data of removed sites stays in \/var\/lib\/sitegen/);
    t.is(await guest.sh(`ls /etc/sitegen; ls -d /var/lib/sitegen/sites/${domain}/data`), `keys\n/var/lib/sitegen/sites/${domain}/data`);
  });
});

longTest('an installation that is interrupted or killed anywhere can be run again; the site is never away', async (t) => {
  await withMachine(async (guest) => {
    // A first installation that is killed.
    await guest.run(['timeout', '--signal', 'KILL', '3', `/root/${older.version}/install.sh`, '--yes']);
    ok(t, await install(guest, older.version));
    await addSite(t, guest);
    const before = await serving(guest);
    const versions = [newer.version, older.version];
    for (let round = 0; round < 12; round++) {
      const version = versions[round % 2] ?? '';
      const signal = round % 3 === 0 ? 'INT' : 'KILL';
      // All of its processes, as a terminal or an OOM killer does, not only the first.
      await guest.run(['setsid', '--wait', 'bash', '-c', `set -m; /root/${version}/install.sh --yes & sleep ${(0.3 + round * 0.6).toFixed(1)}; kill -${signal} -- -$!; wait`], { timeoutMs: 120_000 });
      await until('what was interrupted has ended', async () => await guest.sh('flock -n /run/sitegen-setup.lock true && echo free || true') === 'free', 60_000, 500);
      t.true(versions.includes(await guest.sh('sitegen --version')), `after ${signal} in round ${round}`);
      t.regex(await visit(guest, round), new RegExp(`^GET ${round} \\d+\\n200$`));
    }
    ok(t, await install(guest, newer.version));
    t.is(await guest.sh('sitegen --version'), newer.version);
    t.is(await serving(guest), before, 'the site was never stopped');
    t.is(await guest.sh("systemctl list-units --no-legend --failed 'site*'; find /usr/lib -name '*.sitegen-new'"), '');
  });
});
