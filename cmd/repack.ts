import { SitegenError } from '../lib/pure/errors.ts';
import { repackAll } from '../lib/usecases/repack.ts';

/** Run by sitegen-repack.service every night. */
try {
  const faults = await repackAll(new Date(), (line) => { console.log(line); });
  for (const { domain, reason } of faults) console.error(`<3>${domain}: ${reason}`);
  if (faults.length > 0) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof SitegenError)) throw error;
  console.error(`<3>${error.message}`);
  process.exitCode = 1;
}
// The timers that simple-git leaves behind (see completion in lib/effects/git/run.ts) are waited for by nobody.
process.exit();
