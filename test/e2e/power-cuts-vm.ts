import { execa } from 'execa';
import { addKeeper, domain, names } from './_keeper.ts';
import { lab, long, longTest, until, type Guest } from './_guest.ts';

/** An emulated machine takes a minute to boot: one in CI, with --long as many as tell more. */
const cuts = long ? 10 : 1;

/** Where in a dump and commit the power goes, ms after its start; spread over all of it. */
const moments = Array.from({ length: cuts }, (_, index) => Math.round(900 + (index * 7000) / cuts));

const git = `git -c safe.directory='*' -C ${names.git}`;

longTest(`${cuts} power cuts during dump and commit: the repository is whole, what was committed is there, and the site wakes`, async (t, guest) => {
  const address = await addKeeper(guest);
  let written = 0;
  let committed = 'HEAD';
  const visit = async () => {
    written += 1;
    const text = `w${written} ${'x'.repeat(2000)}`;
    await until('the site keeps a note', async () => (await guest.run(['curl', '-sf', '--max-time', '60', '-d', text, `http://${address}/cgi-bin/note`])).code === 0, 180_000, 500);
  };
  await visit();
  t.is((await guest.sitegen('backup', domain)).code, 0);
  committed = await guest.sh(`${git} rev-parse main`);
  for (const moment of moments) {
    await visit();
    await guest.sh(`head -c 3000000 /dev/urandom > ${names.data}/files/upload-${written}; sync; systemctl start --no-block sitegen-dump@${domain}.service`);
    await new Promise((resolve) => setTimeout(resolve, moment));
    await cutPower(guest);
    t.is(await guest.sh(`${git} fsck --full --strict --connectivity-only 2>&1 | grep -v '^\\(dangling\\|notice\\|Checking\\)' || true`), '', `fsck after ${moment} ms`);
    t.is(await guest.sh(`${git} fsck --full 2>&1 | grep -ciE 'error|missing|corrupt|broken' || true`), '0', `objects after ${moment} ms`);
    t.is(await guest.sh(`${git} merge-base --is-ancestor ${committed} main && echo there`), 'there', `after ${moment} ms`);
    t.is((await guest.sitegen('backup', 'verify', domain)).code, 0);
    await visit();
    const again = await guest.sitegen('backup', domain);
    t.is(again.code, 0, again.stderr);
    committed = await guest.sh(`${git} rev-parse main`);
    t.regex(await guest.sh(`${git} show main:meta/dump/dump.sql | tail -n 2 | cut -c1-8`), new RegExp(`^w${written} `), 'the last note is in the dump');
  }
  t.log(`the power went ${moments.join(', ')} ms after the start of a dump`);
});

/** Ends the machine at once, and boots it again from its disk. */
async function cutPower(guest: Guest): Promise<void> {
  await execa(lab, ['power-cut', guest.name], { timeout: 60_000 });
  // Units may have failed at the boot, such as a dump of a site that is not there yet; the test itself looks closer.
  await execa(lab, ['up', guest.name, '--bare'], { timeout: 900_000, reject: false });
  await until('it runs again', async () => (await guest.run(['docker', 'info'])).code === 0, 300_000, 2000);
}
