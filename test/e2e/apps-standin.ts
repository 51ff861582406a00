import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { guestTest, longTest, type Guest } from './_guest.ts';
import { buildImage, ensureWordpressBase } from './_images.ts';

/**
 * Apps of the catalogue whose image guests cannot fetch. A stand-in has the name of the image, or of what the
 * app is built on, keeps to its documented interface, and refuses what that would refuse: it ends
 * with a line, or answers with one. What it is of is in fixtures/standins.
 */
interface Standin {
  /** Name of the image that it takes the place of. */
  image: string;
  /** Folders of its files. */
  folders: readonly string[];
  /** On Debian's packages; on nothing but busybox otherwise. */
  packages: boolean;
  /** Asked for to add a note, which is answered with all notes. */
  page: string;
  /** Asked for once, as its admin does first. */
  setup?: string;
  /** Put by its admin, from the image, into the document root. */
  place?: { from: string; to: string };
  /** Keeps notes in a database that is dumped; in files otherwise. */
  dump?: string;
  /** Further arguments of add. */
  more?: (guest: Guest) => Promise<string[]>;
  /** It refuses to be run with these, as `docker run` takes them. */
  refuses: Readonly<Record<string, RegExp>>;
}

const standins: Readonly<Record<string, Standin>> = {
  nextcloud: {
    image: 'nextcloud:stable-apache', folders: ['cloud', 'nextcloud'], packages: true, page: '/index.php', dump: 'nextcloud.db',
    refuses: { '': /html would be lost/, '-v /srv/standin:/var/www/html': /ADMIN_USER is missing/, '--user 33 -v /srv/standin:/var/www/html': /as root/ },
  },
  owncloud: {
    image: 'owncloud/server:10.16', folders: ['cloud', 'owncloud'], packages: true, page: '/index.php', dump: 'owncloud.db',
    refuses: { '': /data would be lost/, '-v /srv/standin:/mnt/data': /know its password/, '-v /srv/standin:/mnt/data -e OWNCLOUD_ADMIN_PASSWORD=x': /keep the site awake/ },
  },
  lamp: { image: 'debian:trixie-slim', folders: ['lamp'], packages: true, page: '/notes.php', place: { from: '/srv/notes.php', to: '/var/www/html/' }, dump: 'dump.sql', refuses: {} },
  known: { image: 'debian:bookworm-slim', folders: ['known'], packages: true, page: '/any/path', dump: 'dump.sql', refuses: {} },
  trovebox: { image: 'php:5.6-apache', folders: ['trovebox'], packages: true, page: '/any/path', setup: '/?setup=1', dump: 'dump.sql', refuses: {} },
  cozy: {
    image: 'cozy/cozy-stack:latest', folders: ['cozy'], packages: false, page: '/', more: startCouch,
    refuses: { '': /data would be lost/, '-v /srv/standin:/var/lib/cozy/data -v /srv/standin2:/etc/cozy': /in the log/ },
  },
};

for (const [app, standin] of Object.entries(standins)) {
  const domain = `${app}.example.com`;
  const data = `/var/lib/sitegen/sites/${domain}/data`;
  const note = async (guest: Guest, address: string, query = '') => {
    const { status, body } = await guest.get(address, { path: `${standin.page}${query}`, host: domain, timeoutS: 300 });
    return `${status} ${body.trim()}`;
  };

  (app === 'lamp' ? guestTest : longTest)(`a stand-in for the image of ${app} wakes, is dumped, sleeps and is restored by the app's definition`, async (t, guest) => {
    await withStandin(guest, standin, async () => {
      await refusals(t, guest, standin);
      const address = await guest.site(domain, '--app', app, ...await standin.more?.(guest) ?? []);
      if (standin.place) {
        t.regex((await guest.get(address, { host: domain, timeoutS: 300 })).body, /PHP \d.* and MariaDB \d.* work\./);
        t.is((await guest.sitegen('exec', domain, '--', 'cp', standin.place.from, standin.place.to)).code, 0);
        await guest.sitegen('exec', domain, '--', 'chown', '-R', 'www-data', standin.place.to);
      }
      if (standin.setup !== undefined) t.is((await guest.get(address, { path: standin.setup, host: domain, timeoutS: 300 })).status, 200);
      t.is(await note(guest, address, '?add=first'), '200 first', await journal(guest, domain));
      t.is(await guest.sh('docker volume ls --quiet | wc -l'), '0', 'all that it writes is in the site\'s data');
      t.is((await guest.sitegen('stop', domain)).code, 0, 'which dumps it first');
      if (standin.dump !== undefined) {
        t.true(Number(await guest.sh(`stat -c %s /var/lib/sitegen/sites/${domain}/meta/dump/${standin.dump}`)) > 0);
        t.is(await guest.sh(`git -c safe.directory='*' -C /var/lib/sitegen/git/${domain}.git ls-tree -r --name-only HEAD | grep -c '/database/\\|${standin.dump}-\\|data/.*${standin.dump}' || true`), '0', 'the database itself is in no backup');
      }
      const first = await guest.sh(`git -c safe.directory='*' -C /var/lib/sitegen/git/${domain}.git rev-parse HEAD`);
      t.is(await note(guest, address, '?add=second'), '200 first\nsecond', 'it wakes with what it had');
      await guest.sh(`sitegen stop ${domain}; rm -r ${data}/*`);

      const { code, stderr } = await guest.sitegen('restore', domain, '--from', 'local', '--at', first, '--force');
      t.is(code, 0, stderr);
      t.is(await note(guest, address), '200 first', await journal(guest, domain));
      t.is((await guest.sitegen('stop', domain)).code, 0);
      t.is(await note(guest, address, '?add=third'), '200 first\nthird', 'what came back can be written');
    });
  });
}

/** Runs a body with the image in its place. */
async function withStandin(guest: Guest, { image, folders, packages }: Standin, body: () => Promise<void>): Promise<void> {
  const files: Record<string, string> = {};
  for (const folder of folders.map((name) => path.join(import.meta.dirname, 'fixtures/standins', name))) {
    for (const file of await readdir(folder)) files[file] = await readFile(path.join(folder, file), 'utf8');
  }
  await buildImage(guest, image, files, packages ? await ensureWordpressBase(guest) : undefined);
  try {
    await body();
  } finally {
    await guest.sh(`rm -rf /srv/standin*; systemctl stop standin-couch || true; ip netns delete standin || true; docker rmi --force ${image} >/dev/null`);
  }
}

async function refusals(t: ExecutionContext, guest: Guest, { image, refuses }: Standin): Promise<void> {
  for (const [given, line] of Object.entries(refuses)) {
    const { code, stderr } = await guest.run(['bash', '-c', `rm -rf /srv/standin*; docker run --rm --network none ${given} ${image}`]);
    t.is(code, 1, given);
    t.regex(stderr, line);
  }
}

/** What answers as a CouchDB with a password does, on a machine of its own. Gives what the site is to know of it. */
async function startCouch(guest: Guest): Promise<string[]> {
  await guest.sh(`
    ip netns add standin
    ip link add standin type veth peer name eth0 netns standin
    ip addr add 192.0.2.1/30 dev standin; ip link set standin up
    ip netns exec standin sh -c 'ip addr add 192.0.2.2/30 dev eth0; ip link set eth0 up; ip route add default via 192.0.2.1'
    systemd-run --quiet --unit=standin-couch -p NetworkNamespacePath=/run/netns/standin node -e '
      const right = "Basic " + Buffer.from("cozy:couchpass").toString("base64");
      require("http").createServer((request, answer) => answer.writeHead(request.headers.authorization === right ? 200 : 401).end()).listen(5984)'`);
  return ['COUCHDB_HOST=192.0.2.2', 'COUCHDB_PASSWORD=couchpass', 'COZY_COUCHDB_URL=http://cozy:couchpass@192.0.2.2:5984/'].flatMap((pair) => ['--env', pair]);
}

/** What a failed wake said. */
async function journal(guest: Guest, domain: string): Promise<string> {
  return guest.sh(`journalctl -u site-${domain}.service -n 25 -o cat --no-pager`);
}
