import { connectSystemd } from '../lib/effects/systemd.ts';
import { siteNames } from '../lib/pure/names.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { forgetDisk, watchDisk } from '../lib/usecases/disk.ts';
import { siteOfId } from '../lib/usecases/read-sites.ts';
import { connectRunner } from '../lib/usecases/runner.ts';
import { loadSettings } from '../lib/usecases/settings.ts';

/**
 * Run as `disk.mjs ID` by sitegen-disk@ID.service: one look at how much room the site's data takes. It
 * fails, and so raises the site's alarm, while that is nearly all; with another code, which counts as
 * success and leaves the alarm open, when that was said within the hour.
 */
const saidBefore = 10;
const [id = ''] = process.argv.slice(2);
const systemd = await connectSystemd();
try {
  const domain = (await siteOfId(id))?.domain;
  const { sites: [loaded] } = domain === undefined ? { sites: [] } : await loadSettings([domain]);
  if (loaded) {
    const names = siteNames(loaded.site.domain);
    const news = await watchDisk({ systemd, docker: connectRunner() }, names, loaded.site.workload?.diskBytes);
    if (news) {
      if (!news.again) console.error(`<3>${names.domain}: ${news.fault}`);
      process.exitCode = news.again ? saidBefore : 1;
    } else {
      await worked(names.diskUnit, new Date());
    }
  } else if (domain !== undefined) {
    await forgetDisk(siteNames(domain));
  }
} finally {
  systemd.close();
}
