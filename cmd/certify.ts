import { connectSystemd } from '../lib/effects/systemd.ts';
import { routerRuns } from '../lib/effects/router.ts';
import { withLock } from '../lib/effects/lock.ts';
import { reasonOf, SitegenError } from '../lib/pure/errors.ts';
import { siteNames } from '../lib/pure/names.ts';
import { warningTime } from '../lib/pure/renewal.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { repairCertificates } from '../lib/usecases/certs.ts';
import { takeDropWhenQuiet, sourceOf } from '../lib/usecases/drop.ts';
import { readableSites, siteOfId } from '../lib/usecases/read-sites.ts';
import { arrangeWatches, refreshWindows, sitesDue, startUnits } from '../lib/usecases/renew.ts';
import { loadDefaults } from '../lib/usecases/settings.ts';

/**
 * Run by units: `get ID` by sitegen-certify@ID.service, `check ID` by sitegen-certs@ID.service,
 * `due` by sitegen-renew.service and `watch` by sitegen-certs.service.
 */

/** Something is amiss, but no alarm yet: success for systemd, and no end of an alarm that stands. */
const waiting = 75;

const say = (line: string) => { console.error(line); };

async function get(id: string): Promise<number> {
  const file = await siteOfId(id);
  if (!file) return 0;
  const { certify } = await import('../lib/usecases/certify.ts');
  const { kind, lines } = await certify(file, await loadDefaults(), { report: say });
  // The last line says what is amiss; sd-daemon(3) has the numbers.
  for (const [index, line] of lines.entries()) say(index === lines.length - 1 && kind !== 'well' ? `${kind === 'alarm' ? '<3>' : '<4>'}${line}` : line);
  if (kind === 'well') await worked(siteNames(file.domain).certifyUnit, new Date());
  return { well: 0, waiting, alarm: 1 }[kind];
}

async function check(id: string): Promise<number> {
  const file = await siteOfId(id);
  if (!file) return 0;
  const names = siteNames(file.domain);
  const look = await withLock(names.certLock, {}, () => takeDropWhenQuiet(file, () => new Date()));
  for (const line of look.lines) say(line);
  if (look.kind === 'wrong') {
    say(`<3>${file.domain}: the certificate in ${names.certDir} is refused: ${look.reason ?? ''}; the one before goes on being served`);
    return 1;
  }
  const { certificate } = await sourceOf(names);
  await worked(names.dropUnit, new Date());
  if (certificate && new Date() < warningTime(certificate)) await worked(names.certifyUnit, new Date());
  return 0;
}

/** Looks after all sites: which folders to watch, and with `renew` which certificates to get. */
async function all(renew: boolean): Promise<number> {
  const systemd = await connectSystemd();
  try {
    const [sites, defaults] = [await readableSites(), await loadDefaults()];
    const filled = await arrangeWatches(systemd, sites, defaults);
    await startUnits(systemd, filled.map((domain) => siteNames(domain).dropUnit));
    if (!renew) return 0;
    // What a router that was just starting was not told.
    if (await routerRuns()) for (const line of await repairCertificates(sites, true)) say(line);
    const now = new Date();
    await refreshWindows(sites, defaults, now, say);
    await startUnits(systemd, (await sitesDue(sites, defaults, now)).map((domain) => siteNames(domain).certifyUnit));
    return 0;
  } finally {
    systemd.close();
  }
}

const [mode, id = ''] = process.argv.slice(2);
try {
  process.exitCode = mode === 'get' ? await get(id) : mode === 'check' ? await check(id) : await all(mode === 'due');
} catch (error) {
  say(`<3>${error instanceof SitegenError ? error.message : error instanceof Error ? (error.stack ?? error.message) : reasonOf(error)}`);
  process.exitCode = 1;
}
