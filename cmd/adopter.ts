import { answerLine } from '../lib/effects/hold.ts';
import { IdleClock, inheritedSockets, serveRaw } from '../lib/effects/sockets.ts';
import { connectSystemd, type Systemd } from '../lib/effects/systemd.ts';
import { makeAdopter } from '../lib/usecases/adopter.ts';

/**
 * Has sites brought here that the responder asks for, over a socket that systemd listens on. It
 * ends when nobody asks; until then it remembers what was in vain.
 */
const idleMs = 120_000;
const askedMax = 64;

const report = (line: unknown) => { console.error(line instanceof Error ? (line.stack ?? line.message) : line); };
const clock = new IdleClock(idleMs, () => process.exit(0));
let connection: Promise<Systemd> | undefined;
const systemd = () => {
  const connecting = connection ??= connectSystemd();
  connecting.catch(() => { connection = undefined; });
  return connecting;
};
const adopt = makeAdopter({ systemd, now: () => Date.now(), report });

const sockets = inheritedSockets(process.env, process.pid);
for (const { fd } of sockets) {
  serveRaw(fd, clock, askedMax, (client) => {
    answerLine(client, async (name) => adopt(name).catch((error: unknown) => {
      report(error);
      return 'refused';
    })).catch(report);
  }, report);
}
if (sockets.length === 0) {
  console.error('no sockets: this program is started by sitegen-adopter.service');
  process.exit(2);
}
