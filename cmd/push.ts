import { writeAtomic } from '../lib/effects/files.ts';
import { reasonOf, SitegenError } from '../lib/pure/errors.ts';
import { siteNames } from '../lib/pure/names.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { pushDeps, pushSite } from '../lib/usecases/push.ts';
import { siteOfId } from '../lib/usecases/read-sites.ts';

/** sysexits.h's EX_TEMPFAIL: to be tried again. */
const again = 75;

/** Run by sitegen-push@ID.service: brings a site's commits to all backup servers. */
const id = process.argv[2] ?? '';
try {
  const file = await siteOfId(id);
  if (!file) {
    console.error(`${id}: there is no such site any more`);
  } else {
    const { domain } = file;
    const { done, lines, commit } = await pushSite(domain, await pushDeps((line) => { console.log(line); }));
    // The "<3>" makes it an error in the journal (sd-daemon(3)).
    for (const line of lines) console.log(`${done ? '' : '<3>'}${domain}: ${line}`);
    if (done) await worked(siteNames(domain).pushUnit, new Date());
    else process.exitCode = again;
    // For what the unit does last: a commit that came since has asked systemd for a push while one was going on.
    if (done && commit !== undefined) await writeAtomic({ path: siteNames(domain).pushedFile, content: `${commit}\n` });
  }
} catch (error) {
  if (!(error instanceof SitegenError)) throw error;
  console.error(`<3>${reasonOf(error)}${error.hint === undefined ? '' : `; ${error.hint}`}`);
  process.exitCode = again;
}
// The timers that simple-git leaves behind (see completion in lib/effects/git/run.ts) are waited for by nobody.
process.exit();
