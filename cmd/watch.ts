import { connectSystemd } from '../lib/effects/systemd.ts';
import { siteNames } from '../lib/pure/names.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { sitesShortOfRoom } from '../lib/usecases/disk.ts';
import { siteOfId } from '../lib/usecases/read-sites.ts';
import { staleSite, watchBackups } from '../lib/usecases/watch.ts';

/**
 * Run by sitegen-watch.service for all sites, every hour and after a boot; and as `watch.mjs ID` by
 * sitegen-watch@ID.service, which fails, and so raises the site's alarm, while its backup is stale.
 */
const [argument = ''] = process.argv.slice(2);
const systemd = await connectSystemd();
try {
  if (argument === '' || argument === '--boot') {
    const { stale, lines } = await watchBackups(systemd, argument === '--boot', () => new Date());
    for (const line of lines) console.log(line);
    for (const domain of await sitesShortOfRoom()) await systemd.enqueue(siteNames(domain).diskUnit);
    for (const { domain } of stale) await systemd.start(siteNames(domain).watchBackupUnit).catch(() => undefined);
  } else {
    const file = await siteOfId(argument);
    const reason = file && await staleSite(systemd, file, new Date());
    if (reason === undefined) {
      if (file) await worked(siteNames(file.domain).watchBackupUnit, new Date());
    } else {
      console.error(`<3>${file?.domain ?? argument}: not backed up: ${reason}; look at: sitegen backup list ${file?.domain ?? argument}`);
      process.exitCode = 1;
    }
  }
} finally {
  systemd.close();
}
// The timers that simple-git leaves behind (see completion in lib/effects/git/run.ts) are waited for by nobody.
process.exit();
