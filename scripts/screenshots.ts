import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { execa } from 'execa';
import { lab, openGuest } from '../test/e2e/_lab.ts';
import { write } from '../test/e2e/_machine.ts';
import { subjects } from './screenshots/sites.ts';
import { openBrowser, take } from './screenshots/take.ts';

/**
 * `npm run screenshots [-- NAME…]`: takes the pictures in docs/screenshots anew, all or those named, as
 * visitors see the pages: in Chromium, over TLS, through the router of a guest "screenshots" that has
 * this tree. The guest is started when it does not run, and then taken down in the end, unless KEEP=1.
 * No picture is written of a page that is not as it should be; the exit code is 1 then.
 */
const name = 'screenshots';
const folder = path.resolve(import.meta.dirname, '../docs/screenshots');
const wanted = process.argv.slice(2);

const known = subjects.flatMap(({ shots }) => shots.map((shot) => shot.name));
const unknown = wanted.filter((each) => !known.includes(each));
if (unknown.length > 0) {
  console.error(`no such picture: ${unknown.join(' ')}; there are ${known.join(' ')}`);
  process.exit(2);
}

if ((await execa('chromium', ['--version'], { reject: false })).exitCode !== 0) {
  console.error('Chromium is missing: sudo apt-get install chromium');
  process.exit(1);
}

const running = (await execa(lab, ['list'])).stdout.split('\n').some((line) => line.startsWith(`${name} `));
await execa(lab, ['up', name], { stdio: ['ignore', 'inherit', 'inherit'] });
const guest = openGuest(name);
try {
  await write(guest, '/etc/sitegen/sitegen.yaml', 'acme: {enabled: false}\n');
  await guest.sh('sitegen apply --quiet');
  const browser = await openBrowser((await execa(lab, ['addr', name])).stdout.trim());
  await mkdir(folder, { recursive: true });
  try {
    for (const subject of subjects) {
      const { domain, shots } = subject;
      const takes = shots.filter((shot) => wanted.length === 0 || wanted.includes(shot.name));
      if (takes.length === 0) continue;
      const remove = () => guest.sitegen('remove', '--purge', '--backups', '--yes', domain);
      try {
        await remove();
        await subject.make(guest, domain);
        for (const shot of takes) {
          const picture = await take(browser, domain, shot);
          await writeFile(path.join(folder, `${shot.name}.png`), picture);
          console.log(`docs/screenshots/${shot.name}.png: ${picture.length} bytes`);
        }
      } catch (error) {
        console.error(error instanceof Error ? error.message : error);
        process.exitCode = 1;
      } finally {
        await remove();
      }
    }
  } finally {
    await browser.close();
  }
} finally {
  if (!running && process.env['KEEP'] !== '1') await execa(lab, ['down', name], { stdio: 'inherit' });
}
