import { connectRunner } from '../lib/usecases/runner.ts';
import { connectSystemd, type Systemd } from '../lib/effects/systemd.ts';
import { reasonOf, SitegenError } from '../lib/pure/errors.ts';
import { formatBytes } from '../lib/pure/quantities.ts';
import { shortCommit } from '../lib/pure/static.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { backupSite, type BackupDeps } from '../lib/usecases/backup.ts';
import { siteOfId } from '../lib/usecases/read-sites.ts';
import { siteNames } from '../lib/pure/names.ts';

/** Run by sitegen-dump@ID.service: one backup of one site, into its repository on this machine. */
const id = process.argv[2] ?? '';
const file = await siteOfId(id);
if (!file) {
  console.error(`${id}: there is no such site any more`);
} else {
  const { domain } = file;
  const report = (line: string) => { console.log(line); };
  // Only when it is needed: while the machine shuts down D-Bus may be gone before us.
  const ask = async <T>(action: (systemd: Systemd) => Promise<T>) => {
    const systemd = await connectSystemd();
    return action(systemd).finally(() => { systemd.close(); });
  };
  const systemd: BackupDeps['systemd'] = {
    thaw: (unit) => ask((manager) => manager.thaw(unit)),
    freeze: (unit) => ask((manager) => manager.freeze(unit)),
    list: (patterns) => ask((manager) => manager.list(patterns)),
    // The watch has it pushed after the boot.
    enqueue: (unit) => ask((manager) => manager.enqueue(unit)).catch((error: unknown) => { report(`<4>${domain}: it is pushed later: ${reasonOf(error)}`); }),
  };
  try {
    const { commit, changed, files, bytes, warnings, skipped } = await backupSite({ docker: connectRunner(), systemd, report, now: () => new Date() }, domain);
    for (const warning of warnings) console.error(`<4>${domain}: ${warning}`);
    console.log(skipped === undefined
      ? `${domain}: ${changed ? 'committed' : 'nothing new since'} ${shortCommit(commit ?? '')}: ${files} files, ${formatBytes(bytes)}`
      : `${domain}: nothing to back up: ${skipped}`);
    await worked(siteNames(domain).dumpUnit, new Date());
  } catch (error) {
    if (!(error instanceof SitegenError)) throw error;
    console.error(`<3>${error.message}${error.hint === undefined ? '' : `; ${error.hint}`}`);
    process.exitCode = 1;
  }
}
