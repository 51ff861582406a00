import { spoolAt } from '../../../lib/effects/mail-spool.ts';
import { serveIntake } from '../../../lib/effects/smtp-intake.ts';
import { connectSender } from '../../../lib/effects/smtp-send.ts';
import { makeIntake } from '../../../lib/usecases/mail-intake.ts';
import { deliver } from '../../../lib/usecases/mail-deliver.ts';
import { site } from '../_mail.ts';

/** The relay's parts as processes that a test can kill: `intake DIR PORT` and `deliver DIR PORT`. */
const [, , part, directory = '', port = '0'] = process.argv;
const spool = spoolAt(directory);
if (part === 'intake') {
  const report = (error: unknown) => { console.error(error); };
  await serveIntake({ host: '127.0.0.1', port: Number(port) }, {
    ...makeIntake({ siteAt: () => ({ ...site, perHour: 10_000 }), spool, countsDir: `${directory}/counts`, now: () => Date.now(), report, freeMin: 0 }),
    name: 'relay', maxBytes: 1e7, maxClients: 20, silenceMs: 10_000, closeMs: 100, begin: () => () => undefined, report,
  });
  console.log('listening');
} else {
  const result = await deliver({
    spool, statsFile: `${directory}/stats.json`, sites: () => new Map([[site.id, { ...site, relay: { tls: 'smtp', host: '127.0.0.1', port: Number(port) } }]]),
    senderTo: (relay) => Promise.resolve(connectSender({ relay, account: undefined, name: 'host.example' })), tell: () => Promise.resolve(), now: () => Date.now(),
  });
  console.log(JSON.stringify(result));
}
