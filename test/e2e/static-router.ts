import { guestTest, type Guest } from './_guest.ts';
import { changes, inventory } from './_machine.ts';
import { load } from './_static.ts';

/** A visit over https, the path just as it is written; curl's further arguments. */
async function visit(guest: Guest, domain: string, path: string, ...args: string[]) {
  const { stdout } = await guest.run(['curl', '--silent', '--insecure', '--max-time', '20', '--path-as-is', '--include', '--http1.1', '--resolve', `${domain}:443:127.0.0.1`, ...args, `https://${domain}${path}`]);
  const [head = '', ...body] = stdout.split('\r\n\r\n');
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'im').exec(head)?.[1]?.trim();
  return { status: Number(head.split(' ')[1]), field, body: body.join('\r\n\r\n') };
}

guestTest('a static site is served through the router, and what visitors say of directories is not believed', async (t, guest) => {
  const domain = 'files.example.com';
  await guest.site(domain, '--static', 'www');
  const data = `/var/lib/sitegen/sites/${domain}/data`;
  await guest.sh(`cd ${data}/www; echo Home >index.html; mkdir sub; echo Below >sub/index.html; seq 20000 >long.txt; head -c 100000 /dev/urandom >image.png; echo SECRET >../secret.txt; echo SECRET >.env; ln -s ../secret.txt link; chmod -R a+rX .`);
  const home = await visit(guest, domain, '/');
  t.deepEqual([home.status, home.body, home.field('content-type')], [200, 'Home\n', 'text/html; charset=utf-8']);
  t.is((await visit(guest, domain, '/', '-H', `If-None-Match: ${home.field('etag') ?? ''}`)).status, 304);
  const part = await visit(guest, domain, '/long.txt', '-H', 'Range: bytes=0-3');
  t.deepEqual([part.status, part.body], [206, '1\n2\n']);
  t.is((await visit(guest, domain, '/long.txt', '-H', 'Accept-Encoding: gzip', '--head')).field('content-encoding'), 'gzip');
  t.is(await guest.sh(`curl -sk --compressed --resolve ${domain}:443:127.0.0.1 https://${domain}/long.txt | cmp - ${data}/www/long.txt && echo same`), 'same');
  t.is((await visit(guest, domain, '/image.png', '-H', 'Accept-Encoding: gzip', '--head')).field('content-encoding'), undefined);
  t.regex((await visit(guest, domain, '/sub')).field('location') ?? '', /^(https:\/\/files\.example\.com)?\/sub\/$/);
  t.is((await visit(guest, domain, '/', '--request', 'POST', '--data', 'x')).status, 405);
  for (const path of ['/../secret.txt', '/%2e%2e/secret.txt', '/%2e%2e%2fsecret.txt', '/%252e%252e/secret.txt', '/..%5csecret.txt', '/.%00./secret.txt', '/%c0%ae%c0%ae/secret.txt', '/link', '/.env', '/%2eenv', '/sub/..%2f.env', '//.env']) {
    const answer = await visit(guest, domain, path);
    t.true([400, 404].includes(answer.status), `${path}: ${answer.status}`);
    t.notRegex(answer.body, /SECRET/, path);
  }
  for (const header of [`X-Sitegen-Root: ${data}`, 'X_Sitegen_Root: /srv', 'x-sitegen-root: /', 'X-Sitegen-Not-Found: /sub/index.html']) {
    t.is((await visit(guest, domain, '/', '-H', header)).body, 'Home\n', header);
    const missing = await visit(guest, domain, '/secret.txt', '-H', header);
    t.is(missing.status, 404, header);
    t.notRegex(missing.body, /SECRET|Below/, header);
  }
});

guestTest('visitors notice neither restarts nor kills of the static server', async (t, guest) => {
  const domain = 'files.example.com';
  await guest.site(domain, '--static', 'www');
  await guest.sh(`cd /var/lib/sitegen/sites/${domain}/data/www; echo Home >index.html; seq 20000 >long.txt; chmod -R a+rX .`);
  const calm = await load(guest, ['/', '/long.txt'], { site: domain, at: 6 }, async () => {
    for (let turn = 0; turn < 6; turn += 1) await guest.sh(`systemctl ${turn % 2 === 0 ? 'reload' : 'restart'} sitegen-static.service; sleep 0.7`);
  });
  t.log(`${calm.requests} requests, the slowest took ${calm.slowestMs} ms`);
  t.deepEqual([calm.failed, Object.keys(calm.answers).filter((answer) => !answer.startsWith('200 '))], [[], []]);
  const rough = await load(guest, ['/'], { site: domain, at: 4 }, () => guest.sh('kill -9 $(systemctl show -P MainPID sitegen-static.service); sleep 2'));
  const bad = Object.entries(rough.answers).filter(([answer]) => !answer.startsWith('200 '));
  t.log(`${rough.requests} requests, the slowest took ${rough.slowestMs} ms; ${rough.failed.length} cut off, others than 200: ${JSON.stringify(bad)}`);
  t.true(rough.failed.length + bad.reduce((sum, [, count]) => sum + count, 0) <= 4);
  await guest.sh("systemctl reset-failed 'sitegen-static*'");
});

guestTest('a site is added from a repository, pulled, and removed; one that cannot be cloned leaves nothing', async (t, guest) => {
  const domain = 'cloned.example.com';
  await guest.sh(`rm -rf /srv/git-test; mkdir -p /srv/git-test; cd /srv/git-test; git init -q -b main work; cd work; git config user.email a@example.com; git config user.name a
    mkdir public; echo first >public/index.html; git add .; git commit -qm 1; git clone -q --bare . ../site.git; git remote add origin ../site.git`);
  const before = await inventory(guest);
  const refused = await guest.sitegen('add', domain, '--git', '/srv/git-test/none.git');
  t.is(refused.code, 1);
  t.regex(refused.stderr, /cannot pull \/srv\/git-test\/none\.git/);
  t.deepEqual(changes(before, await inventory(guest)).filter((line) => !/\/checkouts$|acme|pull@/.test(line)), []);
  await guest.site(domain, '--git', '/srv/git-test/site.git', '--static', 'public');
  t.is((await visit(guest, domain, '/')).body, 'first\n');
  await guest.sh('cd /srv/git-test/work; echo second >public/index.html; git commit -qam 2; git push -q origin main');
  t.regex((await guest.sitegen('pull', domain)).stdout, /^cloned\.example\.com: [0-9a-f]{10} -> [0-9a-f]{10}\n$/);
  t.is((await visit(guest, domain, '/')).body, 'second\n');
  t.is((await guest.sitegen('diff')).stdout, '');
  t.is((await guest.sitegen('remove', '--yes', domain)).code, 0);
  t.is(await guest.sh('ls /var/lib/sitegen/checkouts; rm -r /srv/git-test'), '');
});
