import type { ExecutionContext } from 'ava';
import { backupOf, endServers, prepare, startServers } from './_backup.ts';
import { hills } from './_blog.ts';
import { ensureGhostApp, ghostApp, openGhost, type Ghost } from './_ghost.ts';
import { longTest, stopwatch, until, type Guest } from './_guest.ts';
import { ensureGhostBase } from './_images.ts';

const domain = 'ghost.example.com';
const container = `site-${domain}`;
const data = `/var/lib/sitegen/sites/${domain}/data/content`;

longTest('Ghost of the catalogue: posts with pictures outlive an upgrade of the image, a sleep, and a restore; its mail is handed in', async (t, guest) => {
  const { took, timed } = stopwatch();
  try {
    await startServers(guest);
    await prepare(guest, domain);
    await guest.sh('sitegen apply --quiet');
    const { versions: [older = '', newer = ''] } = await timed('base', () => ensureGhostBase(guest));
    await ensureGhostApp(guest, older);
    await timed('add', () => guest.site(domain, '--app', 'ghost'));
    const ghost = openGhost(guest, domain);
    t.is((await timed('first visit, which installs it', () => ghost.visit('/'))).status, 200);
    t.is(await versionOf(guest), older);
    await ghost.logIn();
    const shown = [await publish(ghost, 'Kept in the cellar', 'cellar.png')];
    await expectPosts(t, ghost, shown);

    await ensureGhostApp(guest, newer);
    const since = await guest.sh('date +%s');
    t.is((await guest.sitegen('apply', domain)).code, 0);
    t.is((await timed('first visit after the upgrade', () => ghost.visit('/'))).status, 200);
    t.is(await versionOf(guest), newer);
    t.regex(await journal(guest, `--since @${since}`), /bringing its data from sitegen\/ghost:\S+ to sitegen\/ghost:/);
    const migrations = `SELECT count(*) FROM migrations WHERE version = '${newer.replace(/\.\d+$/, '')}'`;
    t.is(await guest.sh(`docker exec ${container} sqlite3 /var/lib/ghost/ghost.db "${migrations}"`), '1', 'its database is the newer one\'s');
    await expectPosts(t, ghost, shown);
    await ghost.logIn();
    shown.push(await publish(ghost, 'After the upgrade', 'stairs.png'));
    const isWhole = () => expectPosts(t, ghost, shown);
    await isWhole();
    for (const { picture } of shown) t.true(await ghost.isWebp(sized(picture)), 'made smaller');

    t.is((await timed('stop', () => guest.sitegen('stop', domain))).code, 0);
    t.is((await guest.status(domain)).state, 'asleep');
    t.is(await guest.sh(`docker inspect --format '{{.State.ExitCode}}' ${container}`), '0');
    t.regex((await timed('cold hit', () => ghost.visit('/'))).body, /Kept in the cellar/);
    t.log(`${(await journal(guest)).split('\n').findLast((line) => line.startsWith('awake')) ?? ''}; ${await memoryOf(guest)} MB of memory`);
    await isWhole();

    const saved = await timed('backup', () => guest.sitegen('backup', 'now', '--wait', domain));
    t.is(saved.code, 0, saved.stderr);
    await until('both servers have it', async () => (await backupOf(guest, domain, true)).state === 'well', 60_000);
    await publish(ghost, 'Too late for the backup', 'late.png');
    await guest.sh(`rm -r ${data}/images ${data}/public`);
    const restored = await timed('restore', () => guest.sitegen('restore', domain, '--force'));
    t.is(restored.code, 0, restored.stderr);
    await timed('first visit then', () => ghost.visit('/'));
    await isWhole();
    t.notRegex((await ghost.visit('/')).body, /Too late/);
    t.true(await ghost.isWebp(sized(shown[1]?.picture ?? '')), 'made anew');
    t.is((await ghost.visit('/public/cards.min.css')).status, 200, 'made anew');
    await ghost.logIn();

    // Nobody takes mail there, so that it waits where it can be looked at.
    await startServers(guest, 'mail: {relay: "smtp://127.0.0.1:2599"}');
    await guest.sh('sitegen apply --quiet');
    await t.throwsAsync(ghost.logIn(), { message: /: 403: .*2FA_NEW_DEVICE_DETECTED/ });
    // It answers before its mail is taken.
    const queued = async () => (JSON.parse((await guest.sitegen('mail', 'queue', domain, '--json')).stdout) as { to: string[] }[]).map(({ to }) => to);
    await until('its code is in the queue', async () => (await queued()).length > 0);
    t.deepEqual(await queued(), [[`admin@${domain}`]], 'its code');
  } finally {
    t.log(took.join(', '));
    await guest.run(['sitegen', 'remove', '--purge', '--backups', '--yes', domain]);
    await endServers(guest);
    await guest.sh(`rm -rf ${ghostApp} /var/lib/sitegen/mail/spool/queue/* /var/lib/sitegen/mail/spool/in/*; sitegen image prune; sitegen apply --quiet`);
  }
});

/** A post that was published, and the digest of its picture. */
interface Shown {
  title: string;
  path: string;
  picture: string;
  digest: string;
}

async function publish(ghost: Ghost, title: string, name: string): Promise<Shown> {
  const made = await ghost.publish({ title, text: 'Seen by nobody.', picture: await hills(), name });
  return { title, ...made, digest: await ghost.digest(made.picture) };
}

/** They are on the front page, and whole on their own; their pictures are the same. */
async function expectPosts(t: ExecutionContext, ghost: Ghost, posts: readonly Shown[]): Promise<void> {
  const front = await ghost.visit('/');
  for (const { title, path, picture, digest } of posts) {
    t.regex(front.body, new RegExp(title));
    const { status, body } = await ghost.visit(path);
    t.is(status, 200);
    t.regex(body, /Seen by nobody\./);
    t.true(body.includes(`src="https://${domain}${picture}"`), 'the picture is in the post');
    t.is(await ghost.digest(picture), digest, 'the same picture, byte for byte');
  }
}

/** Where Ghost shows a picture 600 pixels wide, as WebP. */
function sized(picture: string): string {
  return picture.replace('/content/images/', '/content/images/size/w600/format/webp/');
}

async function journal(guest: Guest, ...more: string[]): Promise<string> {
  return guest.sh(`journalctl --sync; journalctl --unit ${container}.service --output cat --no-pager ${more.join(' ')}`);
}

async function versionOf(guest: Guest): Promise<string> {
  return guest.sh(`docker exec ${container} node -p 'require("/opt/ghost/current/package.json").version'`);
}

/** Megabytes that all processes of the container have, each page once. */
async function memoryOf(guest: Guest): Promise<number> {
  const sum = await guest.sh(`docker top ${container} -o pid | tail -n +2 | while read -r pid; do grep '^Pss:' /proc/$pid/smaps_rollup; done | awk '{ sum += $2 } END { print sum }'`);
  return Math.round((Number(sum) * 1024) / 1e6);
}
