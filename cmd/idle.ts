import { siteGroups } from '../lib/effects/cgroup.ts';
import { readListen } from '../lib/pure/listen.ts';
import { isSiteId, listenSocket, shared, siteNames } from '../lib/pure/names.ts';
import { parseNeed } from '../lib/pure/room.ts';
import { idleRound, makeRoom, type Actors } from '../lib/usecases/idle.ts';
import { refreshEgress } from '../lib/usecases/egress.ts';
import type { SleepDeps } from '../lib/usecases/put-to-sleep.ts';

/**
 * Run by sitegen-idle.service every few seconds while sites run: one round. Run as `room BYTES:RESERVED:ID` by
 * sitegen-room@.service it has others make room for a site that starts, and as `egress ID` by
 * sitegen-egress@.service it asks for the addresses of what a site may reach. D-Bus and Docker are loaded
 * only when there is something to do. Ends the timer when nothing runs any more.
 */
const report = (line: string) => { console.error(line); };
let connected: Promise<SleepDeps> | undefined;
const connect = () => (connected ??= (async () => {
  const [{ connectSystemd }, { connectRunner }] = await Promise.all([import('../lib/effects/systemd.ts'), import('../lib/usecases/runner.ts')]);
  return { systemd: await connectSystemd(), docker: connectRunner(), report };
})());
const actors: Actors = {
  report,
  async carryOut(move, known, past) {
    const { putToSleep } = await import('../lib/usecases/put-to-sleep.ts');
    return putToSleep(await connect(), move, known, past);
  },
  async measure(domain) {
    const { systemd } = await connect();
    await systemd.enqueue(siteNames(domain).diskUnit);
  },
  async isActive(domain) {
    const { systemd } = await connect();
    return (await systemd.list([siteNames(domain).service])).some(({ activeState }) => activeState === 'active');
  },
  async isHeld(domain, port) {
    const { systemd } = await connect();
    return (await systemd.list([listenSocket(siteNames(domain), port)])).some(({ activeState }) => activeState === 'active');
  },
  async claims() {
    const { systemd } = await connect();
    const up = (await systemd.list(['site-*.service'])).filter(({ activeState }) => activeState !== 'inactive' && activeState !== 'failed');
    const environments = await Promise.all(up.map(async ({ name }) => (await systemd.properties(name, 'Service'))['Environment'] as string[] | undefined ?? []));
    return environments.map((environment) => {
      const valueOf = (name: string) => environment.find((each) => each.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
      return { site: valueOf('SITEGEN_SITE'), listen: readListen(valueOf('SITEGEN_LISTEN')) };
    });
  },
};

if (process.argv[2] === 'room') {
  const need = parseNeed(process.argv[3] ?? '');
  if (need) await makeRoom(actors, need);
} else if (process.argv[2] === 'egress') {
  await refreshEgress([process.argv[3] ?? ''].filter((id) => isSiteId(id)), report);
} else if (await idleRound(actors) === 0) {
  const { systemd } = await connect();
  await systemd.stop(shared.guardUnit);
  await systemd.stop(shared.idleTimer);
  // A site that woke in this very moment has found it still at work.
  if (siteGroups().length > 0) await systemd.enqueue(shared.idleTimer);
}
(await connected)?.systemd.close();
