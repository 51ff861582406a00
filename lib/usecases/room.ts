import { heldByAll, memoryCurrent, memoryMax } from '../effects/cgroup.ts';
import { readIfThere } from '../effects/files.ts';
import { reservations, reserve } from '../effects/cgroup/reservations.ts';
import type { Systemd } from '../effects/systemd.ts';
import { paths, roomUnit, type SiteNames } from '../pure/names.ts';
import { formatBytes } from '../pure/quantities.ts';
import { needText, parseTold, takes } from '../pure/room.ts';

/** For so long others are waited for, as wake.sh does: it has a turn, which visitors may wait for. */
const waitMs = 5000;

/**
 * Has others make room for a site that a job is about to start, as wake.sh does for a visitor's; sites
 * with visitors are not put to sleep for it. Until it is given back no other start counts on the same memory.
 * @param say is told when memory is short
 * @returns gives back what was reserved, once the site holds it
 */
export async function makeRoomForJob(systemd: Pick<Systemd, 'start'>, { id, cgroup, memoryFile }: Pick<SiteNames, 'id' | 'cgroup' | 'memoryFile'>, say: (text: string) => Promise<void>): Promise<() => void> {
  const told = parseTold(await readIfThere(paths.budgetFile) ?? '');
  const held = told && heldByAll(told.swapShare);
  if (!told || held === undefined) return () => undefined;
  const { budgetBytes } = told;
  const before = Number(await readIfThere(memoryFile) ?? NaN);
  const bytes = takes({ peakBytes: Number.isNaN(before) ? undefined : before, budgetBytes, maxBytes: memoryMax(cgroup) });
  const giveBack = reserve(id, { bytes, cgroup });
  const reservedBytes = reservations(id).reduce((sum, each) => sum + Math.max(0, each.bytes - (memoryCurrent(each.cgroup) ?? 0)), 0);
  if (held + reservedBytes + bytes <= budgetBytes) return giveBack;
  const asked = systemd.start(roomUnit(needText({ id, bytes, reservedBytes, background: true }))).then(() => 'others have made room', () => 'nobody could be asked to make room');
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((resolve) => { timer = setTimeout(() => { resolve('it starts before others have made room'); }, waitMs); });
  const became = await Promise.race([asked, late]).finally(() => { clearTimeout(timer); });
  await say(`memory is short, ${became}: they held ${formatBytes(held + reservedBytes)} of ${formatBytes(budgetBytes)}, and the site takes ${formatBytes(bytes)}`);
  return giveBack;
}
