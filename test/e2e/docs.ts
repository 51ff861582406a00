import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { endServers, servers, startServers } from './_backup.ts';
import { newestTest, until, type Guest } from './_guest.ts';
import { buildImage, ensureDatabases } from './_images.ts';
import { write } from './_machine.ts';
import { message, sinkUrl, speak, startSink, stopSink } from './_mail.ts';
import { hostKeyOf } from './_servers.ts';

const docs = path.resolve(import.meta.dirname, '../../docs');
const site = 'example.com';
const data = `/var/lib/sitegen/sites/${site}/data`;

/**
 * What a reader is told to type on a server, in order: lines of blocks, and what is more than the name of a
 * command among text. Those for a clone (npm, ./scripts) are what runs these tests.
 */
function commandsOf(text: string): string[] {
  const found = [...text.matchAll(/^```(\w*)\n([^]*?)^```|`([^`]+)`/gm)].flatMap(([, language, block, span = '']) => {
    if (block !== undefined) return language === '' ? block.split('\n') : [];
    return /\S\s+\S+\s+\S/.test(span) ? [span.replaceAll(/\s+/g, ' ')] : [];
  });
  return found.map((line) => line.replaceAll(/\bsudo /g, '').replace(/\s{2,}#.*/, '').replaceAll(/\bDOMAIN\b/g, site).trim())
    .filter((line) => /^(sitegen|systemctl|systemd-analyze|journalctl|git|nft|echo|install|tar|sha256sum|apt) |^\.\/install\.sh/.test(line));
}

/** Whose commands another file of tests runs, and words that nobody is to type as they stand. */
const elsewhere: Readonly<Record<string, string>> = {
  'sitegen move example.com --to root@new.example.net': 'move.ts',
  'sitegen certs renew example.com': 'certs-ways.ts',
  'sha256sum --check --ignore-missing SHA256SUMS': 'release.ts',
  'tar -xzf sitegen-0.1.0.tar.gz && cd sitegen-0.1.0': 'release.ts',
  './install.sh': 'release.ts',
  'apt install ./sitegen_0.1.0_all.deb': 'release.ts',
  'apt remove sitegen': 'release.ts',
  'apt purge sitegen': 'release.ts',
  'nft flush ruleset': 'firewalls.ts',
  'git add -A -f': 'what a dump does',
  'sitegen adopt --force': 'its name',
  'sitegen backup refill': 'its name',
  'sitegen remove --purge --backups': 'its name',
};

/** How a command is run that cannot be taken by its words alone. */
interface How {
  /** Done before it. */
  first?: string;
  /** An example's key, host or time stands for a true one; what asks is answered. */
  as?: string;
  /** Exit codes that are right: 0 unless given. */
  codes?: readonly number[];
  /** What it has to print. */
  prints?: RegExp;
}

/** Runs the commands of some files, in order. @returns how many there were */
async function follow(guest: Guest, files: readonly string[], how: Readonly<Record<string, How>>): Promise<number> {
  const wrong: string[] = [];
  const left = new Set(Object.keys(how));
  let count = 0;
  for (const file of files) {
    for (const command of commandsOf(await readFile(path.join(docs, file), 'utf8'))) {
      if (elsewhere[command] !== undefined) continue;
      const { first, as = command, codes = [0], prints } = how[command] ?? {};
      left.delete(command);
      if (first !== undefined) await guest.sh(first);
      const { code, stdout, stderr } = await guest.run(['bash', '-o', 'pipefail', '-c', as], { timeoutMs: 300_000 });
      if (!codes.includes(code) || prints?.test(stdout + stderr) === false) wrong.push(`${file}: ${command}: exit code ${code}\n${stdout}${stderr}`);
      count += 1;
    }
  }
  if (left.size > 0) wrong.push(`nobody is told to type any more: ${[...left].join(', ')}`);
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
  return count;
}

/** What an editor is started for, by somebody who changes nothing. */
const edited = (unit: string): [string, How] => [`systemctl edit ${unit}`, { as: `SYSTEMD_EDITOR=true script --quiet --return --command 'systemctl edit ${unit}' /dev/null` }];

const chapters: Readonly<Record<string, (guest: Guest) => Promise<number>>> = {
  async 'backups.md buddies.md'(guest) {
    const image = await ensureDatabases(guest);
    await startServers(guest);
    const key = { as: `sitegen buddy allow alice --key "$(sitegen backup key)" --quota 20G` };
    const back = `sitegen status ${site} &>/dev/null || sitegen adopt --force ${site}`;
    const there = `${back}; sitegen start ${site}; sitegen backup ${site} --wait`;
    await guest.sh(`for domain in ${site} old.example.com; do git init --quiet --bare -b main ${servers[0]?.directory ?? ''}/$domain.git; done
      sed -i '/backup2/s#.*#    - {url: "ssh://sitegen-buddy@127.0.0.1/alice", hostKey: "${await hostKeyOf(guest)}"}#' /etc/sitegen/sitegen.yaml`);
    for (const domain of [site, 'old.example.com']) {
      await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: ${image}\nready: {timeout: 3min}\nvolumes: ["mariadb:/data/mariadb", "postgresql:/data/postgresql", "www:/data/www", "wp-content:/wp-content"]\ndump: {way: mariadb, database: wordpress}\nexclude: [postgresql]\nlimits: {memoryMax: 1G}\n`);
    }
    await guest.sh(`sitegen apply --quiet; mkdir -p ${data}/wp-content/uploads/2026; echo picture >${data}/wp-content/uploads/2026/a.jpg; sitegen start ${site}
      sitegen exec ${site} -- mariadb -e 'CREATE DATABASE wordpress; USE wordpress; CREATE TABLE wp_posts (id INT); INSERT INTO wp_posts VALUES (7)'
      sitegen start old.example.com; sitegen exec old.example.com -- mariadb -e 'CREATE DATABASE wordpress'`, { timeoutMs: 300_000 });
    const adopted = { first: `sitegen remove --purge --yes ${site} >/dev/null`, as: `sitegen adopt --force ${site}` };
    return follow(guest, ['backups.md', 'buddies.md'], {
      "sitegen buddy allow alice --key 'ssh-ed25519 AAAA…' --quota 20G": key,
      'sitegen backup list': { first: 'sitegen backup old.example.com --wait', prints: /old\.example\.com/ },
      'sitegen backup example.com --wait': { prints: /^\S/ },
      'sitegen backup list example.com': { prints: /127\.0\.0\.1/ },
      'sitegen restore example.com': { as: `sitegen restore ${site} --force --yes` },
      'sitegen restore example.com --at 2026-11-20T08:00': { as: `sitegen restore ${site} --at "$(date +%FT%T)" --force --yes` },
      'sitegen restore example.com --path wp-content/uploads/2026': { first: `rm -r ${data}/wp-content/uploads`, as: `sitegen restore ${site} --path wp-content/uploads/2026 && cat ${data}/wp-content/uploads/2026/a.jpg`, prints: /picture/ },
      'sitegen restore example.com --table wp_posts | sitegen exec example.com -- mariadb wordpress': {
        first: `sitegen start ${site}; sitegen exec ${site} -- mariadb wordpress -e 'DELETE FROM wp_posts'`,
        as: `sitegen restore ${site} --table wp_posts | sitegen exec ${site} -- mariadb wordpress && sitegen exec ${site} -- mariadb wordpress -e 'SELECT * FROM wp_posts'`, prints: /7/,
      },
      'sitegen adopt example.com': adopted,
      'sitegen clone example.com staging.example.com': { first: there },
      'sitegen remove example.com --purge --backups': { as: `sitegen remove ${site} --purge --backups --yes`, prints: /sitegen buddy erase NAME example\.com/ },
      "sitegen buddy allow alice --key 'ssh-ed25519 AAAA… sitegen@web1' --quota 20G": { ...key, first: there },
      'sitegen buddy list': { prints: /alice/ },
      'sitegen buddy erase alice example.com': { first: `test -e /var/lib/sitegen-buddy/alice/${site}.git || { sitegen status ${site} &>/dev/null || sitegen adopt --force ${site}; sitegen backup refill ${site}; }`, as: `sitegen buddy erase alice ${site} --yes` },
      'sitegen backup refill example.com': { first: back },
      'git init --bare -b main /srv/backups/example.com.git': {},
      'git fsck --full': { as: 'git -C /srv/backups/example.com.git fsck --full' },
    });
  },
  async 'certificates.md'(guest) {
    await guest.site(site);
    return follow(guest, ['certificates.md'], {
      'sitegen certs remove example.com': { as: `sitegen certs remove ${site} --yes` },
      'sitegen certs import example.com --cert cert.pem --key key.pem --chain ca.pem': {
        first: `cd /root; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=Test -days 30 2>/dev/null
          openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout key.pem -out csr.pem -subj /CN=${site} 2>/dev/null
          printf 'subjectAltName=DNS:${site},DNS:www.${site}' >ext; openssl x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile ext -out cert.pem 2>/dev/null`,
        as: `cd /root && sitegen certs import ${site} --cert cert.pem --key key.pem --chain ca.pem && sitegen certs`, prints: /manual/,
      },
    });
  },
  async 'compose.md'(guest) {
    const image = await ensureDatabases(guest);
    const blog = 'blog.example.com';
    await guest.sh(`docker tag ${image} test/docs:1`);
    await write(guest, '/srv/blog/compose.yaml', `services:\n  web: {image: test/docs:1, command: [sleep, "9"], labels: ["traefik.http.routers.b.rule=Host(\`${site}\`)", "traefik.http.services.b.loadbalancer.server.port=80"]}\n  db: {image: test/docs:1, command: [sleep, "9"]}\n`);
    await write(guest, `/etc/sitegen/sites/${blog}.yaml`, `domain: ${blog}\nready: {timeout: 3min}\nstop: {timeout: 1s}\ncompose:\n  entrypoint: web:8080\n  project:\n    services:\n      web: {image: test/docs:1, command: [busybox, httpd, -f, -p, "8080"]}\n      db: {image: test/docs:1, volumes: ["db:/data"]}\n    volumes: {db: }\n`);
    await guest.sh(`sitegen apply --quiet; sitegen start ${blog}`, { timeoutMs: 300_000 });
    const inDatabase = (command: string) => guest.run(['sitegen', 'exec', blog, '--service', 'db', '--', ...command.split(' ')]);
    await until('its database is there', async () => (await inDatabase('runuser -u postgres -- createuser --superuser blog')).code === 0, 60_000, 1000);
    // As the image of PostgreSQL has it, which asks nobody within the container.
    await inDatabase('sed -i s/peer$/trust/ /data/postgresql/pg_hba.conf');
    await inDatabase('runuser -u postgres -- psql --command=SELECT(pg_reload_conf())');
    await inDatabase('runuser -u postgres -- createdb blog');
    return follow(guest, ['compose.md'], {
      'sitegen logs example.com --service db': { as: `sitegen logs ${blog} --service db` },
      'sitegen compose blog.example.com -- ps': { prints: /__db/ },
    });
  },
  async 'static.md'(guest) {
    await guest.sh(`rm -rf /srv/docs; git init --quiet -b main /srv/docs; cd /srv/docs; echo page >index.html; git add .; git -c user.name=a -c user.email=a@b commit --quiet -m page`);
    await write(guest, `/etc/sitegen/sites/${site}.yaml`, `domain: ${site}\nstatic: {git: /srv/docs}\n`);
    await guest.sh('sitegen apply --quiet');
    return follow(guest, ['static.md'], Object.fromEntries([edited('sitegen-static.service')]));
  },
  async 'process.md'(guest) {
    const app = 'app.example.com';
    return follow(guest, ['process.md'], Object.fromEntries<How>([
      ["sitegen add app.example.com --process 'exec node server.mjs'", {}],
      edited(`sitegen-process@${app}.service`),
    ]));
  },
  async 'jobs.md sleep.md concepts.md apps.md troubleshooting.md contributing.md install.md doctor.md mail.md'(guest) {
    await startSink(guest);
    await buildImage(guest, 'test/docs-app:1', { Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nSTOPSIGNAL SIGKILL\nCMD ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/bin"]\n' });
    await guest.sh(`printf 'mail: {relay: "${sinkUrl}"}\\n' >>/etc/sitegen/sitegen.yaml`);
    for (const domain of [site, 'blog.example.com']) await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: test/docs-app:1\nsecrets: {TOKEN: correct horse}\njobs: {cron: {calendar: yearly, command: [echo, done]}}\n`);
    await guest.sh(`sitegen apply --quiet; sitegen start ${site}`);
    const key = '$(sitegen mail --json | jq -r ".[0].key")';
    const refused = async () => {
      await guest.sh(`sitegen start ${site}`);
      await speak(guest, site, message('wrong', 'refused@example.net', `info@${site}`));
      await until('it was refused', async () => (await guest.sitegen('mail', '--json')).stdout.includes('failed'), 30_000);
    };
    await refused();
    return follow(guest, ['jobs.md', 'sleep.md', 'concepts.md', 'apps.md', 'troubleshooting.md', 'contributing.md', 'install.md', 'doctor.md', 'mail.md'], Object.fromEntries<How>([
      ['sitegen jobs example.com', { prints: /cron/ }],
      ['journalctl -u site-example.com SITEGEN_JOB=cron', { prints: /done/ }],
      ['sitegen secrets blog.example.com', { prints: /correct horse/ }],
      ['sitegen add blog.example.com --app wordpress --dry-run', { as: 'sitegen add shop.example.com --app wordpress --dry-run' }],
      ['sitegen image update example.com', { prints: /no newer images/ }],
      ['sitegen image update --check', { prints: /no newer images/ }],
      ['nft list table inet sitegen', { prints: /map awake/ }],
      ['systemctl mask sitegen-images.timer', { as: 'systemctl mask sitegen-images.timer; systemctl unmask sitegen-images.timer' }],
      ['sitegen doctor', { codes: [0, 1, 2], prints: /operating-system/ }],
      ['sitegen doctor example.com', { codes: [0, 1, 2], prints: /drift/ }],
      ['sitegen doctor --fix', { codes: [0, 1, 2], prints: /operating-system/ }],
      ['sitegen mail check', { prints: /works/ }],
      ['sitegen mail', { prints: /refused@example\.net/ }],
      ['sitegen mail flush KEY', { as: `sitegen mail flush ${key}`, codes: [1], prints: /mail \S+ to refused@example\.net was given up: .*no such user/ }],
      ['sitegen mail remove KEY', { as: `sitegen mail remove ${key}` }],
      edited(`site-${site}.service`),
    ]));
  },
};

for (const [title, chapter] of Object.entries(chapters)) {
  newestTest(`what ${title} tells to type works, in its order`, async (t, guest) => {
    await guest.sh('cp /etc/sitegen/sitegen.yaml /root/sitegen.yaml.before');
    try {
      const count = await chapter(guest);
      t.true(count > 2);
      t.log(`${count} commands`);
    } finally {
      await stopSink(guest);
      await endServers(guest);
      await guest.sh('mv /root/sitegen.yaml.before /etc/sitegen/sitegen.yaml; rm -rf /var/lib/sitegen-buddy/* /srv/blog /srv/docs /srv/backups; sitegen apply --quiet || true');
      for (const domain of [site, 'app.example.com', 'blog.example.com', 'old.example.com', 'new.example.com', 'staging.example.com']) {
        const { code, stderr } = await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
        if (code !== 0 && !stderr.includes('there is no such site')) t.log(stderr);
      }
    }
  });
}

test('no file with commands is left out', async (t) => {
  const tests = await readdir(import.meta.dirname);
  for (const name of Object.values(elsewhere).filter((each) => each.endsWith('.ts'))) t.true(tests.includes(name), name);
  const followed = Object.keys(chapters).flatMap((title) => title.split(' '));
  for (const file of (await readdir(docs)).filter((name) => name.endsWith('.md') && !followed.includes(name))) {
    t.deepEqual(commandsOf(await readFile(path.join(docs, file), 'utf8')).filter((command) => elsewhere[command] === undefined), [], file);
  }
});
