import { siteGroups, thawNow } from '../lib/effects/cgroup.ts';
import { connectRunner } from '../lib/usecases/runner.ts';
import { tellTransition } from '../lib/effects/journal.ts';
import { startOverSocket } from '../lib/effects/systemctl.ts';
import { quietSites, stopAllQuiet } from '../lib/usecases/stop-quiet.ts';

/** Run by stop-all.sh when the machine or Docker goes down: ends what is frozen, or runs without visitors, in order. */
const now = () => new Date();
await stopAllQuiet(siteGroups(), { thaw: thawNow, siteOf: await quietSites(now()), start: startOverSocket, docker: connectRunner(), tell: tellTransition, report: (line) => { console.error(line); }, now });
