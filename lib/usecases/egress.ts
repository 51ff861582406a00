import { answerOf, readRules, resolvers, uidOf } from '../effects/egress.ts';
import { namesIn as listed, readIfThere, remove, writeAtomic } from '../effects/files.ts';
import { writeEntry } from '../effects/journal.ts';
import { withLock } from '../effects/lock.ts';
import { restoreRules } from '../effects/network.ts';
import type { Desired } from '../pure/desired.ts';
import { namesIn } from '../pure/egress.ts';
import { describeRefused, dueNames, emptyRefused, isSameRules, learnName, parseEgress, renderEgress, replaceEgress, withdrawEgress, type Answer, type EgressSeen, type EgressState, type KnownName } from '../pure/egress-rules.ts';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { egressNamesOf, idOfEgressFile } from '../pure/egress-names.ts';
import { paths, siteNames } from '../pure/names.ts';
import { inParallel } from '../pure/parallel.ts';

/**
 * What sites may reach outside. Each site that may not reach everything has a file of rules, which is
 * read with those of all sites, at boot and whenever somebody has flushed them; what is in it is put in
 * force at once when it changes. The addresses of names are in it too, so that it holds without DNS.
 */

type Report = (line: string) => void;

/** Rules change by one at a time. */
const exclusively = <T>(action: () => Promise<T>) => withLock(paths.egressLock, {}, action);

/**
 * Lets a site reach what its settings say, and nothing else; what runs goes on. Names that are new are
 * asked for first. Of a program its user must be there.
 * @throws SitegenError when the rules cannot be changed; those before are in force then
 */
export async function enforceEgress({ names: { id, domain }, egress }: Pick<Desired, 'names' | 'egress'>, report: Report = () => undefined): Promise<void> {
  const { egressFile } = egressNamesOf(id);
  if (!egress) {
    await dropEgress(id);
    return;
  }
  const known = parseEgress(await readIfThere(egressFile))?.names ?? {};
  const asked = await ask(namesIn(egress.places).filter((name) => known[name] === undefined));
  for (const [name, answer] of asked) if (!answer || answer.addresses.length === 0) report(`${domain}: egress: ${name} ${answer ? 'has no address' : 'could not be asked for'}; it is asked for again while the site runs`);
  const { user } = egress.sources;
  const uid = user === undefined ? undefined : await uidOf(user);
  if (user !== undefined && uid === undefined) throw new SitegenError(`${domain}: egress: there is no user ${user}, whose program is to be kept to a list`, { hint: `run: sitegen apply ${domain}` });
  const servers = await resolvers();
  await exclusively(async () => {
    const before = await readIfThere(egressFile);
    const old = parseEgress(before)?.names ?? {};
    const now = Date.now();
    const learned = namesIn(egress.places).map((name) => [name, old[name] ?? known[name] ?? learnName(undefined, asked.get(name), now)] as const);
    await put(id, before, { ...egress, ...(uid !== undefined && { uid }), names: Object.fromEntries(learned), resolvers: servers });
  });
}

/** Lets a site reach everything, or forgets one that is gone. */
export async function dropEgress(id: string): Promise<void> {
  const { egressFile } = egressNamesOf(id);
  // Most sites have none, and need no lock for that.
  if (await readIfThere(egressFile) === undefined) return;
  await exclusively(async () => {
    const text = await readIfThere(egressFile);
    if (text === undefined) return;
    // Gone already where somebody has flushed the rules.
    await readRules(withdrawEgress(id, text)).catch(() => undefined);
    await remove(egressFile);
  });
}

/** Writes a site's rules down, and puts them in force; nothing is done where they are the same. */
async function put(id: string, before: string | undefined, state: EgressState): Promise<void> {
  const { egressFile } = egressNamesOf(id);
  const content = renderEgress(id, state);
  if (content === before) return;
  const file = { path: egressFile, content, mode: 0o600 };
  if (isSameRules(content, before)) {
    await writeAtomic(file);
    return;
  }
  try {
    await readRules(replaceEgress(before, content));
    await writeAtomic(file);
  } catch {
    // Somebody has flushed the rules: then all of them go back.
    await writeAtomic(file);
    try {
      await restoreRules();
    } catch (error) {
      // Or the rules of all sites would be missing after the next boot.
      await (before === undefined ? remove(egressFile) : writeAtomic({ ...file, content: before }));
      throw error;
    }
  }
}

async function ask(wanted: readonly string[]): Promise<Map<string, Answer | undefined>> {
  const answers = new Map<string, Answer | undefined>();
  await inParallel([...new Set(wanted)], 8, async (name) => { answers.set(name, await answerOf(name)); });
  return answers;
}

/**
 * Asks for the names that some sites may reach whose addresses are too old by what their servers said,
 * and lets the sites reach the addresses that they have now.
 * @param ids those of sites that run; the others are left as they are
 */
export async function refreshEgress(ids: readonly string[], report: Report): Promise<void> {
  const restricted = new Set((await listed(paths.egressDir)).flatMap((name) => idOfEgressFile(name) ?? []));
  const due = new Map<string, string[]>();
  for (const id of ids.filter((each) => restricted.has(each))) {
    const state = parseEgress(await readIfThere(egressNamesOf(id).egressFile));
    const names = state ? dueNames(state, Date.now()) : [];
    if (names.length > 0) due.set(id, names);
  }
  if (due.size === 0) return;
  const answers = await ask([...due.values()].flat());
  const servers = await resolvers();
  for (const [id, names] of due) {
    try {
      await exclusively(async () => {
        const text = await readIfThere(egressNamesOf(id).egressFile);
        const state = parseEgress(text);
        // Changed or gone meanwhile.
        if (!state) return;
        const current = new Set(namesIn(state.places));
        const learned: Record<string, KnownName> = { ...state.names };
        for (const name of names) if (current.has(name)) learned[name] = learnName(state.names[name], answers.get(name), Date.now());
        await put(id, text, { ...state, names: learned, resolvers: servers });
      });
    } catch (error) {
      report(`<4>${id}: what it may reach outside could not be brought up to date: ${reasonOf(error)}`);
    }
  }
}

/** Puts back the rules of sites that somebody has taken away alone. @param seen what the table has; undefined while all of it is gone, and put back by others */
export async function mendEgress(seen: EgressSeen | undefined, report: Report): Promise<void> {
  if (!seen) return;
  for (const id of (await listed(paths.egressDir)).flatMap((name) => idOfEgressFile(name) ?? [])) {
    if (seen.inForce.has(id)) continue;
    const isBack = await exclusively(async () => {
      const text = await readIfThere(egressNamesOf(id).egressFile);
      if (text !== undefined) await readRules(text);
      return text !== undefined;
    });
    if (isBack) report(`<4>${id}: the rules of what it may reach outside were gone, and are back`);
  }
}

/** A site's journal has one line in so long, but for the first, ms. */
const everyMs = 60_000;

/**
 * Writes into sites' journals what was blocked since they were last told.
 * @param toldAt when each was, by id, on the clock of `now`
 * @returns when each was told last
 */
export async function tellRefused({ refused }: EgressSeen, toldAt: Readonly<Record<string, number>>, now: number): Promise<Record<string, number>> {
  const told = Object.fromEntries(Object.entries(toldAt).filter(([, at]) => now - at < everyMs && at <= now));
  for (const [id, places] of refused) {
    if (told[id] !== undefined) continue;
    const state = parseEgress(await readIfThere(egressNamesOf(id).egressFile));
    if (!state) continue;
    await readRules(emptyRefused(id)).catch(() => undefined);
    await writeEntry({ lines: [describeRefused(places)], fields: { PRIORITY: '5', SYSLOG_IDENTIFIER: 'sitegen-egress', OBJECT_SYSTEMD_UNIT: siteNames(state.domain).service, SITEGEN_DOMAIN: state.domain } });
    told[id] = now;
  }
  return told;
}
