import type { ExecutionContext } from 'ava';
import { backupOf, endServers, prepare, startServers } from './_backup.ts';
import { blogApp, ensureBlogApp, hills, openBlog, type Blog } from './_blog.ts';
import { guestTest, stopwatch, until, type Guest } from './_guest.ts';
import { buildImage, ensureWordpressBase } from './_images.ts';

const domain = 'blog.example.com';
const service = `site-${domain}.service`;
const base = 'test/blog-base:1';
const address = '203.0.113.7';

guestTest('WordPress of the catalogue: a post with a picture outlives a sleep, the loss of the machine\'s data, and an update of the image', async (t, guest) => {
  const { took, timed } = stopwatch();
  try {
    await startServers(guest, `  address: ${address}`);
    await prepare(guest, domain);
    await guest.sh('sitegen apply --quiet');
    await timed('base', () => ensureBase(guest));
    await ensureBlogApp(guest, base);
    await timed('add', () => guest.site(domain, '--app', 'wordpress'));
    const blog = openBlog(guest, domain);
    t.is((await timed('first visit, which installs it', () => blog.visit('/'))).status, 200);
    await blog.logIn();
    const picture = await hills();
    const path = await blog.publish({ title: 'Kept on the hills', text: 'Seen at dawn.', picture, name: 'hills.png' });
    const isWhole = () => expectPost(t, blog, path, picture);
    await isWhole();

    t.is((await timed('stop', () => guest.sitegen('stop', domain))).code, 0);
    t.is((await guest.status(domain)).state, 'asleep');
    const cold = await timed('cold hit', () => blog.visit('/'));
    t.regex(cold.body, /Kept on the hills/);
    await isWhole();

    const saved = await timed('backup', () => guest.sitegen('backup', 'now', '--wait', domain));
    t.is(saved.code, 0, saved.stderr);
    await until('both servers have it', async () => (await backupOf(guest, domain, true)).state === 'well', 60_000);
    await timed('adoption by another server', () => burnDownAndAdopt(t, guest));
    t.is((await timed('first visit there', () => blog.visit('/'))).status, 200);
    await isWhole();
    await blog.logIn();

    await timed('update', () => updateImage(t, guest));
    await isWhole();
    await blog.logIn();
    const second = await blog.publish({ title: 'After the update', text: 'It goes on.', picture, name: 'again.png' });
    await expectPost(t, blog, second, picture, 'After the update');
  } finally {
    t.log(took.join(', '));
    await guest.run(['sitegen', 'remove', '--purge', '--backups', '--yes', domain]);
    await endServers(guest);
    await guest.sh(`rm -rf ${blogApp}; sitegen image prune; sitegen apply --quiet`);
  }
});

/** The post is on the front page and has its picture, byte for byte. */
async function expectPost(t: ExecutionContext, blog: Blog, path: string, picture: Buffer, title = 'Kept on the hills'): Promise<void> {
  const { status, body } = await blog.visit('/');
  t.is(status, 200);
  t.regex(body, new RegExp(`>${title}</a>`));
  t.true(body.includes(`src="https://${domain}${path}"`), 'the picture is in the post');
  t.true(await blog.file(path) === picture.toString('base64'), 'the same picture, byte for byte');
}

/**
 * Takes the site off this machine with all that there is of it here, key and image too, so that it is
 * as another machine to the backup servers, and has it adopted as that one does.
 */
async function burnDownAndAdopt(t: ExecutionContext, guest: Guest): Promise<void> {
  const key = await guest.sh('sitegen backup key');
  const removed = await guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
  t.is(removed.code, 0, removed.stderr);
  await guest.sh('rm -rf /etc/sitegen/keys; sitegen image prune');
  t.is(await guest.sh(`ls -d /var/lib/sitegen/sites/${domain} /var/lib/sitegen/git/${domain}.git /etc/sitegen/sites/${domain}.yaml 2>/dev/null || true`), '');
  t.is(await guest.sh('docker images --quiet sitegen/wordpress'), '');
  await startServers(guest, `  address: ${address}\n  signers: ["${key}"]`);
  await guest.sh('sitegen apply --quiet');
  const { code, stdout, stderr } = await guest.sitegen('adopt', '--force', domain);
  t.is(code, 0, stderr);
  t.regex(stdout, /is here, as in [0-9a-f]+: \d+ files/);
}

/** A newer package in the base is found, the image built anew with it, and the data brought up to date by the app's hook. */
async function updateImage(t: ExecutionContext, guest: Guest): Promise<void> {
  const version = () => guest.sh(`docker exec site-${domain} dpkg-query --show --showformat '\${Version}' blog-news`);
  t.is(await version(), '1');
  const former = await guest.sh(`docker inspect --format '{{.Config.Image}}' site-${domain}`);
  await ensureBase(guest, 'RUN dpkg --install /srv/packages/blog-news_2.deb\n');
  const check = await guest.sitegen('image', 'update', '--check', domain);
  t.regex(check.stdout, /1 packages? (is|are) newer: blog-news/, check.stderr);
  const since = await guest.sh('date +%s');
  const { code, stdout, stderr } = await guest.run(['sitegen', 'image', 'update', domain], { timeoutMs: 300_000 });
  t.is(code, 0, stderr);
  t.regex(stdout, /has its new image/);
  t.is(await version(), '2');
  const now = await guest.sh(`docker inspect --format '{{.Config.Image}}' site-${domain}`);
  t.not(now, former);
  t.regex(await guest.sh(`journalctl --sync; journalctl --unit ${service} --since @${since} --output cat`), new RegExp(`bringing its data from ${former} to ${now}`));
  t.regex((await guest.sitegen('image', 'update', '--check', domain)).stderr, /no newer images/);
}

/**
 * Debian's packages and one of our own, of which version 1 is installed, while the list of packages
 * in it, the only one that apt has there, knows 2. @param more lines of its Dockerfile
 */
async function ensureBase(guest: Guest, more = ''): Promise<void> {
  await buildImage(guest, base, {
    Dockerfile: `ARG BASE\nFROM $BASE\nCOPY pack /usr/local/sbin/\nRUN pack 1 && dpkg --install /srv/packages/blog-news_1.deb && pack 2\n${more}`,
    pack: `#!/bin/sh
set -eu
mkdir -p /tmp/pack/DEBIAN /srv/packages
printf 'Package: blog-news\\nVersion: %s\\nArchitecture: all\\nMaintainer: A tester <tester@example.com>\\nDescription: news of the blog\\n' "$1" >/tmp/pack/DEBIAN/control
cd /srv/packages
dpkg-deb --build /tmp/pack "blog-news_$1.deb"
{ cat /tmp/pack/DEBIAN/control; printf 'Filename: ./blog-news_%s.deb\\nSize: %s\\nSHA256: %s\\n' "$1" "$(stat -c %s "blog-news_$1.deb")" "$(sha256sum "blog-news_$1.deb" | cut -d' ' -f1)"; } >Packages
rm -rf /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/packages ./' >/etc/apt/sources.list
`,
  }, await ensureWordpressBase(guest));
}
