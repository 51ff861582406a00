import notify from 'systemd-notify';
import { writeEntry } from '../lib/effects/journal.ts';
import { spoolAt } from '../lib/effects/mail-spool.ts';
import { mail } from '../lib/pure/names.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { openSender } from '../lib/usecases/mail.ts';
import { deliver } from '../lib/usecases/mail-deliver.ts';
import { readSenderSites } from '../lib/usecases/mail-sites.ts';

/** sysexits.h's EX_TEMPFAIL: something waits. */
const again = 75;

/** Run by sitegen-mail-deliver.service: delivers what is due. */
const { left, alarms } = await deliver({
  spool: spoolAt(mail.spoolDir), statsFile: mail.stats, sites: () => readSenderSites(), senderTo: openSender, tell: writeEntry, now: () => Date.now(),
});
// The "<3>" makes it an error in the journal (sd-daemon(3)).
for (const line of alarms) console.error(`<3>${line}`);
const [first] = alarms;
if (first !== undefined) {
  // The alarm tells it.
  await notify({ status: alarms.length === 1 ? first : `${first}; and ${alarms.length - 1} more` }).catch(() => undefined);
  process.exitCode = 1;
} else {
  if (left === 0) await worked(mail.deliverUnit, new Date());
  process.exitCode = left > 0 ? again : 0;
}
