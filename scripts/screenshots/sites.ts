import { ensureBlogApp, hills, openBlog } from '../../test/e2e/_blog.ts';
import { ensureGhostApp, openGhost } from '../../test/e2e/_ghost.ts';
import { ensureGhostBase } from '../../test/e2e/_images.ts';
import type { Guest } from '../../test/e2e/_lab.ts';
import { write } from '../../test/e2e/_machine.ts';
import type { Shot } from './take.ts';

/** A site for pictures: what has it on a guest, and the pictures of it, in their order. */
export interface Subject {
  domain: string;
  /** Makes the site; it is removed, with its data, before and after that. */
  make(guest: Guest, domain: string): Promise<void>;
  shots: readonly Shot[];
}

/** All pictures. One more app is one more entry. */
export const subjects: readonly Subject[] = [
  {
    domain: 'welcome.example.com',
    make: (guest, domain) => add(guest, domain, '--app', 'welcome'),
    shots: [{ name: 'welcome', path: '/', status: 200, text: 'This site works.', own: true }],
  },
  {
    domain: 'closed.example.com',
    async make(guest, domain) {
      await add(guest, domain, '--app', 'welcome');
      await guest.sh(`sitegen maintenance on ${domain}`);
    },
    shots: [{ name: 'maintenance', path: '/', status: 503, text: 'We will be back soon', own: true }],
  },
  {
    domain: 'broken.example.com',
    async make(guest, domain) {
      // It runs, and nothing in it ever listens.
      await write(guest, '/root/broken/Dockerfile', 'FROM scratch\nCOPY busybox /bin/busybox\nSTOPSIGNAL SIGKILL\nCMD ["/bin/busybox", "sleep", "infinity"]\n');
      await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: {build: /root/broken, hostFiles: {busybox: /usr/bin/busybox}}\nready: {timeout: 3s}\n`);
      await guest.sh(`sitegen apply --quiet ${domain}`);
    },
    shots: [{ name: 'unavailable', path: '/', status: 503, text: 'broken.example.com could not be started', own: true }],
  },
  {
    domain: 'blog.example.com',
    async make(guest, domain) {
      await ensureBlogApp(guest);
      await add(guest, domain, '--app', 'wordpress');
      const blog = openBlog(guest, domain);
      await blog.visit('/');
      await blog.logIn();
      await blog.publish({ title: 'A walk in the hills', text: 'We left before dawn, when the site was still asleep.', picture: await hills(), name: 'hills.png' });
    },
    shots: [
      { name: 'wordpress', path: '/', status: 200, text: 'A walk in the hills' },
      { name: 'wordpress-login', path: '/wp-login.php', status: 200, text: 'Lost your password?' },
    ],
  },
  {
    domain: 'journal.example.com',
    async make(guest, domain) {
      await ensureGhostApp(guest, (await ensureGhostBase(guest)).versions.at(-1) ?? '');
      await add(guest, domain, '--app', 'ghost');
      const ghost = openGhost(guest, domain);
      await ghost.visit('/');
      await ghost.logIn();
      await ghost.publish({ title: 'Down by the river', text: 'Nobody was here all night, and the site slept, too.', picture: await hills(), name: 'river.png' });
    },
    shots: [{ name: 'ghost', path: '/down-by-the-river/', status: 200, text: 'Nobody was here all night' }],
  },
];

async function add(guest: Guest, domain: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await guest.run(['sitegen', 'add', domain, ...args], { timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`sitegen add ${domain}: ${stderr}`);
}
