import { connectDocker } from '../lib/effects/docker.ts';
import { connectSystemd } from '../lib/effects/systemd.ts';
import { SitegenError } from '../lib/pure/errors.ts';
import { formatBytes } from '../lib/pure/quantities.ts';
import { shortCommit } from '../lib/pure/static.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { backupSite } from '../lib/usecases/backup.ts';
import { siteOfId } from '../lib/usecases/read-sites.ts';
import { siteNames } from '../lib/pure/names.ts';

/** Run by sitegen-dump@ID.service: one backup of one site, into its repository on this machine. */
const id = process.argv[2] ?? '';
const file = await siteOfId(id);
if (!file) {
  console.error(`${id}: there is no such site any more`);
} else {
  const { domain } = file;
  const systemd = await connectSystemd();
  try {
    const { commit, changed, files, bytes, warnings, skipped } = await backupSite({ docker: connectDocker(), systemd, report: (line) => { console.log(line); }, now: () => new Date() }, domain);
    for (const warning of warnings) console.error(`<4>${domain}: ${warning}`);
    console.log(skipped === undefined
      ? `${domain}: ${changed ? 'committed' : 'nothing new since'} ${shortCommit(commit ?? '')}: ${files} files, ${formatBytes(bytes)}`
      : `${domain}: nothing to back up: ${skipped}`);
    await worked(siteNames(domain).dumpUnit, new Date());
  } catch (error) {
    if (!(error instanceof SitegenError)) throw error;
    console.error(`<3>${error.message}${error.hint === undefined ? '' : `; ${error.hint}`}`);
    process.exitCode = 1;
  } finally {
    systemd.close();
  }
}
