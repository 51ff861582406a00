import test from 'ava';
import { guestName, guestTest, openGuest } from './_guest.ts';
import { write } from './_machine.ts';
import { ask, load, socket, www } from './_static.ts';

test.serial.before(async () => {
  const guest = openGuest(guestName);
  await guest.sh(`systemctl start sitegen-static.socket; rm -rf ${www}; mkdir -p ${www}/sub ${www}/empty ${www}/.git ${www}/.well-known/.deep ${www}/sub/.hidden /srv/www/outside
    cd ${www}; echo '<h1>Home</h1>' >index.html; echo '<h1>Below</h1>' >sub/index.html; printf 0123456789 >digits.txt
    echo SECRET >.env; echo SECRET >.git/config; echo SECRET >sub/.hidden/x; echo SECRET >.well-known/.deep/x; echo SECRET >sub/.htaccess; echo SECRET >/srv/www/outside/secret.txt; echo SECRET >/srv/www/secret.txt
    echo well-known >.well-known/security.txt
    seq 20000 >long.txt; cp long.txt long.png; head -c 1048576 /dev/urandom >big.bin; echo 'plain sibling' >pre.css; printf 'packed sibling' | gzip >pre.css.gz
    ln -s /etc/passwd passwd; ln -s ../outside linked; ln -s digits.txt inner; ln -s ../secret.txt index.htm; mkdir linkindex; ln -s ../digits.txt linkindex/index.html; ln -s /srv/www/secret.txt secret.css.gz; echo open >secret.css
    : >'overlong'; chmod -R a+rX /srv/www`);
});

guestTest('files have types, lengths, dates and tags, and are asked for again only when they changed', async (t, guest) => {
  const page = await ask(guest, '/');
  t.is(page.status, 200);
  t.is(page.headers['content-type'], 'text/html; charset=utf-8');
  t.regex(page.body, /Home/);
  const { etag = '', 'last-modified': date = '' } = page.headers;
  t.is((await ask(guest, '/', { headers: [`If-None-Match: ${etag}`] })).status, 304);
  t.is((await ask(guest, '/', { headers: ['If-None-Match: "other"'] })).status, 200);
  t.is((await ask(guest, '/', { headers: [`If-Modified-Since: ${date}`] })).status, 304);
  t.is((await ask(guest, '/', { headers: ['If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT'] })).status, 200);
  const head = await ask(guest, '/digits.txt', { method: 'HEAD' });
  t.deepEqual([head.status, head.headers['content-length'], head.headers['content-type'], head.body], [200, '10', 'text/plain; charset=utf-8', '']);
  t.is((await ask(guest, '/long.png', { method: 'HEAD' })).headers['content-type'], 'image/png');
  t.is((await ask(guest, '/pre.css', { method: 'HEAD' })).headers['content-type'], 'text/css; charset=utf-8');
  const sums = await guest.sh(`sha256sum <${www}/big.bin; curl -sS --unix-socket ${socket} -H 'X-Sitegen-Root: ${www}' http://x/big.bin | sha256sum`);
  t.is(new Set(sums.split('\n')).size, 1);
});

guestTest('a part, several parts and impossible parts of a file are answered', async (t, guest) => {
  const range = (value: string, path = '/digits.txt', more: string[] = []) => ask(guest, path, { headers: [`Range: bytes=${value}`, ...more] });
  const one = await range('2-4');
  t.deepEqual([one.status, one.headers['content-range'], one.body], [206, 'bytes 2-4/10', '234']);
  t.is((await range('-3')).body, '789');
  t.is((await range('7-')).body, '789');
  const two = await range('0-1,8-9');
  t.is(two.status, 206);
  t.regex(two.headers['content-type'] ?? '', /^multipart\/byteranges/);
  t.regex(two.body, /bytes 0-1\/10[^]*01[^]*bytes 8-9\/10[^]*89/);
  const none = await range('20-30');
  t.deepEqual([none.status, none.headers['content-range']], [416, 'bytes */10']);
  t.is((await range('2-4', '/digits.txt', ['If-Range: "other"'])).status, 200);
});

guestTest('texts are compressed, images are not, and a packed file beside one is used', async (t, guest) => {
  const gzip = { headers: ['Accept-Encoding: gzip'] };
  const text = await ask(guest, '/long.txt', { ...gzip, method: 'HEAD' });
  t.deepEqual([text.headers['content-encoding'], text.headers['vary']], ['gzip', 'Accept-Encoding']);
  const plain = await ask(guest, '/long.txt', { method: 'HEAD' });
  t.deepEqual([plain.headers['content-encoding'], plain.headers['vary']], [undefined, 'Accept-Encoding']);
  t.is((await ask(guest, '/long.png', { ...gzip, method: 'HEAD' })).headers['content-encoding'], undefined);
  t.is(await guest.sh(`curl -sS --compressed --unix-socket ${socket} -H 'X-Sitegen-Root: ${www}' http://x/long.txt | cmp - ${www}/long.txt && echo same`), 'same');
  t.is(await guest.sh(`curl -sS --compressed --unix-socket ${socket} -H 'X-Sitegen-Root: ${www}' http://x/pre.css`), 'packed sibling');
  t.is((await ask(guest, '/pre.css')).body, 'plain sibling\n');
  t.is((await ask(guest, '/secret.css', gzip)).body, 'open\n');
  t.is((await ask(guest, '/long.txt', { headers: ['Accept-Encoding: gzip', `If-None-Match: ${text.headers['etag'] ?? ''}`] })).status, 304);
});

guestTest('directories have their index and a relative redirect; what is missing has the page for it', async (t, guest) => {
  t.regex((await ask(guest, '/sub/')).body, /Below/);
  const redirect = await ask(guest, '/sub?x=1');
  t.deepEqual([redirect.status, redirect.headers['location']], [301, '/sub/?x=1']);
  t.is((await ask(guest, '//sub')).headers['location'], '/sub/');
  for (const path of ['/empty/', '/nothing', '/digits.txt/', '/digits.txt/x', `/${'x'.repeat(300)}`]) {
    const missing = await ask(guest, path);
    t.is(missing.status, 404, path);
    t.regex(missing.body, /There is no page/, path);
    t.notRegex(missing.body, /nginx/, path);
  }
  await guest.sh(`cd ${www}; echo 'our own page' >404.html; echo 'another page' >sub/gone.html`);
  const own = await ask(guest, '/nothing', { headers: ['Range: bytes=0-2', 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT'] });
  t.deepEqual([own.status, own.body, own.headers['content-type']], [404, 'our own page\n', 'text/html; charset=utf-8']);
  t.is((await ask(guest, '/empty/')).body, 'our own page\n');
  const named = await ask(guest, '/nothing', { headers: ['X-Sitegen-Not-Found: /sub/gone.html'] });
  t.deepEqual([named.status, named.body], [404, 'another page\n']);
  t.is((await ask(guest, '/nothing', { headers: ['X-Sitegen-Not-Found: /sub/none.html'] })).status, 404);
  for (const outside of ['/../secret.txt', '/passwd', '/.env', '/linked/secret.txt', 'secret.txt']) {
    const answer = await ask(guest, '/nothing', { headers: [`X-Sitegen-Not-Found: ${outside}`] });
    t.is(answer.status, 404);
    t.notRegex(answer.body, /SECRET|root:/, outside);
  }
  await guest.sh(`rm ${www}/404.html`);
});

guestTest('nothing but reading is possible', async (t, guest) => {
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'PROPFIND', 'TRACE']) {
    for (const path of ['/', '/nothing', '/.env']) t.is((await ask(guest, path, { method })).status, 405, `${method} ${path}`);
  }
  t.is((await ask(guest, '/', { method: 'POST' })).headers['allow'], 'GET, HEAD');
  t.is(await guest.sh(`head -c 5000000 /dev/zero | curl -sS -o /dev/null -w '%{http_code}' --unix-socket ${socket} -H 'X-Sitegen-Root: ${www}' --data-binary @- http://x/; ls /run/sitegen-static/body | wc -l`), '4050');
});

guestTest('no path leads out of the directory, to a hidden file or over a link', async (t, guest) => {
  const paths = ['/../secret.txt', '/sub/../../secret.txt', '/%2e%2e/secret.txt', '/%2e%2e%2fsecret.txt', '/..%2fsecret.txt', '/sub/%2e%2e/%2e%2e/secret.txt',
    '/%252e%252e/secret.txt', '/%252e%252e%252fsecret.txt', '/..%255csecret.txt', '/..\\secret.txt', '/..%5csecret.txt', '/%c0%ae%c0%ae/secret.txt', '/%c0%ae%c0%ae%c0%afsecret.txt', '/%e0%80%ae%e0%80%ae/secret.txt',
    '/%uff0e%uff0e/secret.txt', '/.%00./secret.txt', '/digits.txt%00.html', '/%00', '/....//secret.txt', '/..;/secret.txt', '/./../secret.txt', '//../secret.txt', '/sub/..%2f..%2fsecret.txt', '/srv/www/secret.txt', '//srv/www/secret.txt', '/%2fsrv/www/secret.txt',
    '/passwd', '/linked/secret.txt', '/linked/', '/linked', '/inner', '/index.htm', '/linkindex/', '/sub/../linked/secret.txt', '/secret.css.gz',
    '/.env', '/%2eenv', '/.git/config', '/.git', '/.git/', '/%2egit%2fconfig', '/sub/.hidden/x', '/sub/.htaccess', '/sub%2f.htaccess', '/sub//.htaccess', '/x%0a/.env', '/sub/%0a/../.htaccess', '/.well-known/.deep/x', '/.well-known/../.env', '/sub/.well-known/x', '/.well-knownx'];
  for (const path of paths) {
    const answer = await ask(guest, path);
    t.true([400, 404].includes(answer.status), `${path}: ${answer.status}`);
    t.notRegex(answer.body, /SECRET|root:|0123/, path);
  }
  t.is((await ask(guest, '/.well-known/security.txt')).body, 'well-known\n');
});

guestTest('a directory that is missing, relative or none to be served is refused', async (t, guest) => {
  const data = '/var/lib/sitegen/sites/link.example.com/data';
  await guest.sh(`mkdir -p ${data}; ln -sfn /srv/www ${data}/www; mkdir -p ${data}/plain; echo SECRET >${data}/../x.txt; echo plain >${data}/plain/a.txt; echo open >${data}/a.txt; chmod -R a+rX /var/lib/sitegen/sites`);
  const roots = ['', 'srv/www', '.', '/', '//srv/www', '/srv/../srv/www', '/srv/./www', '/srv/www/', `${www}, /srv/www`, '/srv/www;x', '/srv/www/.git', '/var/lib/sitegen', '/var/lib/sitegen/sites', '/var/lib/sitegen/sites/link.example.com', '/var/lib/sitegen/certs', '/var/lib/sitegen/checkouts/x/trees'];
  for (const root of roots) {
    const answer = await ask(guest, '/secret.txt', { root });
    t.is(answer.status, 403, root);
    t.notRegex(answer.body, /SECRET/, root);
  }
  t.is((await ask(guest, '/x.txt', { root: `${data}/www` })).status, 404);
  // What writes to the data could put a link there.
  t.is((await ask(guest, '/secret.txt', { root: `${data}/www` })).status, 404);
  t.is((await ask(guest, '/a.txt', { root: `${data}/plain` })).body, 'plain\n');
  t.is((await ask(guest, '/a.txt', { root: data })).body, 'open\n');
  t.is(await guest.sh(`stat -c '%U %a' ${socket}; setpriv --reuid nobody --clear-groups curl -sS --unix-socket ${socket} http://x/ 2>&1 | head -1 || true`).then((text) => text.startsWith("sitegen-router 600\ncurl: (7)")), true);
  await guest.sh('rm -r /var/lib/sitegen/sites/link.example.com');
});

guestTest('a file and a directory that become links while they are read show nothing of the outside', async (t, guest) => {
  await write(guest, '/tmp/swap.mjs', `
    import fs from 'node:fs';
    const at = '${www}/race';
    fs.rmSync(at, { recursive: true, force: true });
    for (const name of ['dir', 'spare']) { fs.mkdirSync(at + '/' + name, { recursive: true }); fs.writeFileSync(at + '/' + name + '/secret.txt', 'inside'); }
    fs.writeFileSync(at + '/file', 'inside');
    for (let turn = 0; !fs.existsSync('/tmp/swap.stop'); turn += 1) {
      fs.symlinkSync('/srv/www/outside/secret.txt', at + '/f.new'); fs.renameSync(at + '/f.new', at + '/file');
      fs.renameSync(at + '/dir', at + '/away'); fs.symlinkSync('/srv/www/outside', at + '/dir');
      if (turn % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      fs.writeFileSync(at + '/f.new', 'inside'); fs.renameSync(at + '/f.new', at + '/file');
      fs.unlinkSync(at + '/dir'); fs.renameSync(at + '/away', at + '/dir');
      if (turn % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }`);
  await guest.sh('rm -f /tmp/swap.stop');
  const swapping = guest.run(['sh', '-c', 'umask 022; exec node /tmp/swap.mjs'], { timeoutMs: 60_000 });
  const seen = await load(guest, ['/race/file', '/race/dir/secret.txt'], { at: 4 }, () => new Promise((resolve) => setTimeout(resolve, 15_000)));
  await guest.sh('touch /tmp/swap.stop');
  t.is((await swapping).code, 0);
  t.deepEqual(seen.failed, []);
  t.log(seen.answers);
  t.deepEqual(Object.keys(seen.answers).filter((answer) => !/^(200 inside|404 <!doctype)/.test(answer)), []);
  t.true((seen.answers['200 inside'] ?? 0) > 50 && Object.keys(seen.answers).length === 2);
});

guestTest('reloads and restarts lose no request, and a kill only what was being answered; the socket stays', async (t, guest) => {
  const inode = () => guest.sh(`stat -c %i ${socket}; systemctl show -P ActiveState sitegen-static.socket`);
  const before = await inode();
  const calm = await load(guest, ['/', '/long.txt', '/big.bin'], {}, async () => {
    for (let turn = 0; turn < 8; turn += 1) await guest.sh(`systemctl ${turn % 2 === 0 ? 'reload' : 'restart'} sitegen-static.service; sleep 0.7`);
    await guest.sh('systemctl stop sitegen-static.service; sleep 0.5');
  });
  t.log(`${calm.requests} requests, the slowest took ${calm.slowestMs} ms`);
  t.deepEqual(calm.failed, []);
  t.true(Object.keys(calm.answers).every((answer) => answer.startsWith('200 ')), JSON.stringify(calm.answers));
  t.is(await inode(), before);
  await ask(guest, '/');
  const rough = await load(guest, ['/', '/big.bin'], { at: 4 }, async () => {
    for (let turn = 0; turn < 3; turn += 1) await guest.sh('kill -9 $(systemctl show -P MainPID sitegen-static.service); sleep 2');
  });
  t.log(`${rough.failed.length} of ${rough.requests} requests failed in three kills, the slowest took ${rough.slowestMs} ms`);
  t.true(rough.failed.length <= 3 * 4 && rough.failed.every((line) => !line.includes('ECONNREFUSED')), JSON.stringify(rough.failed));
  t.is(await inode(), before);
  t.is((await ask(guest, '/')).status, 200);
  await guest.sh("sitegen alarms | grep -q sitegen-static.service && exit 1; systemctl reset-failed 'sitegen-*'");
});

guestTest('it needs little memory and no right', async (t, guest) => {
  await load(guest, ['/', '/long.txt', '/big.bin'], { at: 50 }, () => new Promise((resolve) => setTimeout(resolve, 3000)));
  const pss = Number(await guest.sh('for p in $(cat /sys/fs/cgroup/system.slice/sitegen-static.service/cgroup.procs); do grep ^Pss: /proc/$p/smaps_rollup; done | awk \'{ sum += $2 } END { print sum }\''));
  t.log(`${pss} kB in all`);
  t.true(pss > 500 && pss < 12_000, `${pss} kB`);
  const exposure = await guest.sh("systemd-analyze security sitegen-static.service --no-pager | sed -n 's/.*exposure level.*: \\([0-9.]*\\) .*/\\1/p'");
  t.true(Number(exposure) > 0 && Number(exposure) <= 4, exposure);
  t.is(await guest.sh('grep -h ^CapEff: /proc/$(systemctl show -P MainPID sitegen-static.service)/status'), 'CapEff:\t0000000000000000');
  t.is(await guest.sh("systemctl show -P User sitegen-static.service; journalctl -u sitegen-static.service -o cat | grep -c '\\[\\(alert\\|emerg\\)\\]' || true"), 'sitegen\n0');
});
