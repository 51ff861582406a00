import type { ExecutionContext } from 'ava';
import { type Guest, guestTest, longTest, until } from './_guest.ts';
import { buildImage } from './_images.ts';
import { changes, inventory, write } from './_machine.ts';

const domain = 'compose.example.com';
const service = `site-${domain}.service`;
const image = 'test/compose:1';
const appGroup = `/sys/fs/cgroup/site.slice/site-${domain}.slice/site-${domain}-app.slice`;

/**
 * One image for all services: "web" answers with what the database has, "db" keeps a file and is healthy
 * a second after its start, "migrate" adds a line to it and ends, "worker" does nothing. All say in the
 * journal that they were started, and stop.
 */
const scripts: Readonly<Record<string, string>> = {
  Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nRUN ["/bin/busybox", "mkdir", "/www", "/db", "/tmp"]\nCOPY web ask db worker migrate healthy load /usr/bin/\nCMD ["web"]\n',
  web: '#!/bin/busybox sh\necho "starts: web"; trap "echo stops: web; exit 0" TERM\nmkdir -p /www/cgi-bin; cp /usr/bin/ask /www/cgi-bin/db; echo hello > /www/index.html; httpd -f -p 8080 -h /www & wait\n',
  ask: '#!/bin/busybox sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"; wget -q -O - http://db/store\n',
  db: '#!/bin/busybox sh\necho "starts: db"; trap "echo stops: db; exit 0" TERM\nrm -f /tmp/ready; touch /db/store; (sleep 1; touch /tmp/ready) & httpd -f -p 80 -h /db & wait\n',
  worker: '#!/bin/busybox sh\necho "starts: worker"; trap "echo stops: worker; exit 0" TERM\nwhile :; do sleep 1000 & wait; done\n',
  migrate: '#!/bin/busybox sh\necho "starts: migrate"; [ -e /db/store ] || exit 7; echo migrated >> /db/store; exit "${MIGRATE_FAILS:-0}"\n',
  healthy: '#!/bin/busybox sh\n[ -e /tmp/ready ]\n',
  load: '#!/bin/busybox sh\ncat > /db/half; mv /db/half /db/store\n',
};

const settings = (more = '', migrate = '') => `domain: ${domain}
stop: {timeout: 2s}
ready: {timeout: 60s}
idle: {after: 30min}
dump: {command: [cat, /db/store], load: [/usr/bin/load], service: db}
exclude: [volumes/db]
compose:
  entrypoint: web:8080
  project:
    services:
      web: {image: "${image}", command: [web], depends_on: {db: {condition: service_healthy}, migrate: {condition: service_completed_successfully}}}
      worker: {image: "${image}", command: [worker], depends_on: [web]}
      migrate: {image: "${image}", command: [migrate], ${migrate}depends_on: {db: {condition: service_healthy}}, volumes: ["db:/db"]}
      db: {image: "${image}", command: [db], volumes: ["db:/db"], healthcheck: {test: [CMD, healthy]}}
    volumes: {db: }
${more}`;

async function addProject(guest: Guest, text = settings()): Promise<string> {
  await buildImage(guest, image, scripts);
  await guest.site(domain, '--image', image);
  await write(guest, `/etc/sitegen/sites/${domain}.yaml`, text);
  await guest.sh(`sitegen apply --quiet ${domain}`);
  return (await guest.status(domain)).address;
}

const now = (guest: Guest) => guest.sh('date +%s.%N');
const said = (guest: Guest, since: string, what: 'starts' | 'stops') => guest.sh(`journalctl -u ${service} -o cat --no-pager --since @${since} | sed -n 's/^${what}: //p' | tr '\\n' ' '`);
const isActive = (guest: Guest) => until('it is awake', async () => (await guest.run(['systemctl', 'is-active', '--quiet', service])).code === 0, 30_000);

async function freeze(t: ExecutionContext, guest: Guest): Promise<void> {
  await isActive(guest);
  await guest.sh(`
    echo "$(systemctl show --value -P InvocationID ${service}) idle" > /run/sitegen/sites/${domain}.freeze
    systemctl stop ${service}`);
  t.is(await guest.sh(`sed -n 's/^frozen //p' ${appGroup}/cgroup.events`), '1');
}

guestTest('a project wakes in order, its migration runs once, and its services reach each other', async (t, guest) => {
  const address = await addProject(guest);
  const since = await now(guest);
  t.is((await guest.get(address, { timeoutS: 90 })).body, 'hello\n');
  await until('the worker is started', async () => (await said(guest, since, 'starts')).includes('worker'), 30_000);
  t.is(await said(guest, since, 'starts'), 'db migrate web worker');
  t.is((await guest.get(address, { path: '/cgi-bin/db' })).body, 'migrated\n');
  await isActive(guest);

  const stopping = await now(guest);
  t.is((await guest.sitegen('stop', domain)).code, 0);
  t.is(await said(guest, stopping, 'stops'), 'worker web db');
  t.is(await guest.sh(`docker ps --quiet --filter label=sitegen.domain=${domain}`), '');
  t.is((await guest.status(domain)).state, 'asleep');

  const again = await now(guest);
  t.is((await guest.get(address, { path: '/cgi-bin/db', timeoutS: 90 })).body, 'migrated\n');
  await until('the worker is started', async () => (await said(guest, again, 'starts')).includes('worker'), 30_000);
  t.is(await said(guest, again, 'starts'), 'db web worker');
});

guestTest('a project freezes and thaws as one', async (t, guest) => {
  const address = await addProject(guest);
  await guest.get(address, { timeoutS: 90 });
  const containers = await guest.sh(`docker ps --quiet --filter label=sitegen.domain=${domain} | sort`);
  t.is(containers.split('\n').length, 3);
  await freeze(t, guest);
  const frozen = await guest.sh(`for group in $(find ${appGroup} -name 'docker-*.scope'); do sed -n 's/^frozen //p' $group/cgroup.events; done | sort | uniq -c | tr -s ' '`);
  t.is(frozen, '3 1');
  t.is((await guest.get(address, { path: '/cgi-bin/db' })).body, 'migrated\n');
  t.is(await guest.sh(`docker ps --quiet --filter label=sitegen.domain=${domain} | sort`), containers);
  // "docker stop" of one that is frozen ends it as it should.
  await freeze(t, guest);
  const since = await now(guest);
  await guest.sh(`docker stop -t 20 site-${domain}__db >/dev/null`);
  t.is(await said(guest, since, 'stops'), 'db');
});

longTest('when the entrypoint ends so does the site, and the next visit wakes all of it', async (t, guest) => {
  const address = await addProject(guest);
  await guest.get(address, { timeoutS: 90 });
  await isActive(guest);
  await guest.sh(`docker kill site-${domain} >/dev/null`);
  await until('all services have ended', async () => await guest.sh(`docker ps --quiet --filter label=sitegen.domain=${domain}`) === '', 60_000);
  t.is((await guest.get(address, { timeoutS: 90 })).body, 'hello\n');
});

longTest('a migration that fails is named, and nothing is served', async (t, guest) => {
  const address = await addProject(guest, settings('', 'environment: {MIGRATE_FAILS: "3"}, '));
  const since = await now(guest);
  t.is((await guest.get(address, { timeoutS: 90 })).status, 503);
  t.regex(await guest.sh(`journalctl -u ${service} -o cat --no-pager --since @${since}`), /its service migrate ended with exit code 3/);
  t.notRegex(await said(guest, since, 'starts'), /web/);
  await until('all services have ended', async () => await guest.sh(`docker ps --quiet --filter label=sitegen.domain=${domain}`) === '', 60_000);
});

guestTest('the database of a project is dumped in its service, and comes back', async (t, guest) => {
  const address = await addProject(guest);
  await guest.get(address, { timeoutS: 90 });
  await isActive(guest);
  const backup = await guest.sitegen('backup', domain);
  t.is(backup.code, 0, backup.stderr);
  t.is(await guest.sh(`cat /var/lib/sitegen/sites/${domain}/meta/dump/dump.sql`), 'migrated');
  await guest.sh(`docker exec site-${domain}__db sh -c 'echo lost > /db/store'`);
  const restored = await guest.sitegen('restore', domain, '--force', '--yes');
  t.is(restored.code, 0, restored.stderr);
  // Loaded into new containers, whose migration runs once more.
  t.regex((await guest.get(address, { path: '/cgi-bin/db', timeoutS: 120 })).body, /^migrated\n/);
});

longTest('a container that is missing is made again, a change replaces all, and a removal leaves nothing', async (t, guest) => {
  const before = await inventory(guest);
  const address = await addProject(guest);
  await guest.get(address, { timeoutS: 90 });
  await guest.sitegen('stop', domain);
  await guest.sh(`docker rm site-${domain}__db >/dev/null`);
  t.is((await guest.get(address, { timeoutS: 90 })).body, 'hello\n');
  const ids = await guest.sh(`docker ps --all --quiet --filter label=sitegen.domain=${domain} | sort`);
  t.is(await guest.sh(`sitegen diff ${domain}`), '');
  await guest.sh(`sed -i 's/command: .worker./&, environment: {A: b}/' /etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet ${domain}`);
  const changed = await guest.sh(`docker ps --all --quiet --filter label=sitegen.domain=${domain} | sort`);
  t.is(changed.split('\n').filter((id) => ids.includes(id)).length, 0);
  t.is((await guest.sitegen('remove', '--purge', '--backups', '--yes', domain)).code, 0);
  t.deepEqual(changes(before, await inventory(guest)).filter((line) => !line.startsWith('+ neighbour')), []);
  t.is(await guest.sh('docker network ls --format "{{.Name}}" | grep sitegen_ || true'), '');
});

guestTest('one service of a project can be looked into, and its services reach neither the host nor other sites', async (t, guest) => {
  const address = await addProject(guest);
  const other = await guest.site('other.example.com');
  await guest.get(address, { timeoutS: 90 });
  t.is((await guest.sitegen('exec', domain, '--service', 'db', '--', 'cat', '/db/store')).stdout, 'migrated\n');
  t.is((await guest.sitegen('compose', domain, '--', 'exec', 'db', 'cat', '/db/store')).stdout, 'migrated\n');
  t.regex((await guest.sitegen('exec', domain, '--service', 'none', '--', 'true')).stderr, /has no service none\n.*its services: db, migrate, web, worker/);
  t.regex((await guest.sitegen('logs', domain, '--service', 'db')).stdout, /starts: db/);
  t.notRegex((await guest.sitegen('logs', domain, '--service', 'db')).stdout, /starts: web/);
  for (const name of ['', '__db', '__migrate', '__worker']) t.regex((await guest.sitegen('compose', domain, '--', 'ps')).stdout, new RegExp(`^site-${domain}${name} `, 'm'));
  t.regex((await guest.sitegen('compose', domain, '--', 'down')).stderr, /sitegen stop DOMAIN/);
  await guest.get(other);
  const { containerAddress } = await guest.status('other.example.com');
  for (const target of [`${other}:80`, `${containerAddress}:80`]) {
    t.not((await guest.run(['docker', 'exec', `site-${domain}__worker`, 'wget', '-T', '3', '-q', '-O', '-', `http://${target}/`])).code, 0, target);
  }
});

longTest('a project that Compose ran is taken over with its data, and stays stopped', async (t, guest) => {
  await buildImage(guest, image, scripts);
  await write(guest, '/srv/blog/compose.yaml', `services:
  web: {image: "${image}", command: [web], labels: ["traefik.http.routers.b.rule=Host(\`blog.example.com\`)", "traefik.http.services.b.loadbalancer.server.port=8080"], depends_on: [db], ports: ["8081:8080"]}
  db: {image: "${image}", command: [db], volumes: ["db:/db", "./extra:/extra"]}
volumes: {db: }
`);
  // As Compose would have made them, without it.
  await guest.sh(`mkdir -p /srv/blog/extra; echo more > /srv/blog/extra/file; docker volume create blog_db >/dev/null
    docker run -d --name blog-db-1 --restart always --label com.docker.compose.project=blog -v blog_db:/db ${image} db >/dev/null
    docker exec blog-db-1 sh -c 'echo precious > /db/store'`);
  const dry = await guest.sitegen('import', 'compose', '/srv/blog', '--dry-run');
  t.is(dry.code, 0, dry.stderr);
  t.regex(dry.stdout, /copy .*blog_db.* to .*\/data\/volumes\/db\n/);
  t.is((await guest.status('blog.example.com').catch(() => undefined)), undefined);
  try {
    const done = await guest.sitegen('import', 'compose', '/srv/blog');
    t.is(done.code, 0, done.stderr);
    const { address } = await guest.status('blog.example.com');
    t.is((await guest.get(address, { path: '/cgi-bin/db', timeoutS: 90 })).body, 'precious\n');
    t.is(await guest.sh('cat /var/lib/sitegen/sites/blog.example.com/data/extra/file'), 'more');
    t.is(await guest.sh('docker inspect -f "{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}" blog-db-1'), 'false no');
  } finally {
    await guest.sitegen('remove', '--purge', '--backups', '--yes', 'blog.example.com');
    await guest.sh('docker rm -f blog-db-1 >/dev/null; docker volume rm blog_db >/dev/null; rm -rf /srv/blog');
  }
});
