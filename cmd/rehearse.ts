import { connectRunner } from '../lib/usecases/runner.ts';
import { connectSystemd } from '../lib/effects/systemd.ts';
import { siteNames } from '../lib/pure/names.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { siteOfId } from '../lib/usecases/read-sites.ts';
import { rehearseSites, sitesToRehearse } from '../lib/usecases/rehearse.ts';

/**
 * Run by sitegen-rehearse.service, which starts a unit for each site that is due, one after the
 * other; and as `rehearse.mjs ID` by that unit, which fails when the site did not come back.
 */
const id = process.argv[2];
const systemd = await connectSystemd();
try {
  if (id === undefined) {
    for (const domain of await sitesToRehearse(new Date())) await systemd.start(siteNames(domain).rehearseUnit).catch(() => undefined);
  } else {
    const file = await siteOfId(id);
    const report = (line: string) => { console.log(line); };
    const faults = file ? await rehearseSites({ systemd, docker: connectRunner(), report }, [file.domain], () => new Date(), report) : [];
    for (const { domain, reason } of faults) console.error(`<3>${domain}: ${reason}`);
    if (faults.length > 0) process.exitCode = 1;
    else if (file) await worked(siteNames(file.domain).rehearseUnit, new Date());
  }
} finally {
  systemd.close();
}
// The timers that simple-git leaves behind (see completion in lib/effects/git/run.ts) are waited for by nobody.
process.exit();
