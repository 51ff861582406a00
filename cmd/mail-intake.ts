import { sweepTemporary, spoolAt } from '../lib/effects/mail-spool.ts';
import { serveIntake } from '../lib/effects/smtp-intake.ts';
import { IdleClock, inheritedSockets } from '../lib/effects/sockets.ts';
import { reasonOf } from '../lib/pure/errors.ts';
import { builtInMail } from '../lib/pure/mail.ts';
import { mail } from '../lib/pure/names.ts';
import { makeIntake } from '../lib/usecases/mail-intake.ts';
import { readSenderSites, senderByAddress } from '../lib/usecases/mail-sites.ts';

/**
 * Run by sitegen-mail.service: takes the mail of containers, over a socket that systemd listens on. It
 * ends when nobody has sent for a while.
 */
const idleMs = 30_000;

const report = (error: unknown) => { console.error(`<3>${error instanceof Error ? (error.stack ?? error.message) : String(error)}`); };
const spool = spoolAt(mail.spoolDir);
const clock = new IdleClock(idleMs, () => process.exit(0));
const [socket] = inheritedSockets(process.env, process.pid);

// systemd would start it again at once, and again; whoever waits has to be patient for a moment.
process.on('uncaughtException', (error) => {
  report(error);
  setTimeout(() => process.exit(1), 2000);
});
if (!socket) {
  console.error(`no socket: this program is started by ${mail.unit}`);
  process.exit(2);
}
await sweepTemporary(spool);
const maxBytes = Math.max(builtInMail.maxBytes, ...[...readSenderSites().values()].map((site) => site.maxBytes));
const intake = await serveIntake({ fd: socket.fd }, {
  ...makeIntake({ siteAt: senderByAddress(), spool, countsDir: mail.countsDir, now: () => Date.now(), report }),
  name: mail.host,
  maxBytes,
  maxClients: 128,
  silenceMs: 60_000,
  closeMs: 20_000,
  begin: () => clock.begin(),
  report,
});
process.once('SIGTERM', () => {
  intake.close().then(() => process.exit(0), (error: unknown) => {
    console.error(`<3>${reasonOf(error)}`);
    process.exit(1);
  });
});
