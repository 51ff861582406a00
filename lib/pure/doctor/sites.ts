import { backupWord, type BackupState } from '../backup.ts';
import { describeUse, diskHint, judgeUse } from '../disk-quota.ts';
import type { State } from '../state.ts';
import { error, listed, of, ok, unlessNone, warning, type Verdict } from './verdict.ts';

/** Judges each site, and its backups. */

/** @param sites their states, with the reason where something is missing */
export function judgeSites(sites: readonly { domain: string; state: State; reason: string | null }[]): Verdict[] {
  return unlessNone(sites.flatMap(({ domain, state, reason }) => {
    const why = reason ?? state;
    if (state === 'broken' || state === 'data') return [of(domain, error(why, `sitegen status ${domain}; sitegen logs ${domain} -n 50${state === 'data' ? `; sitegen restore ${domain}` : ''}`))];
    if (state === 'configured') return [of(domain, error(why, `sitegen apply ${domain}`, { do: 'apply' }))];
    return state === 'image' ? [of(domain, warning(why, `sitegen apply ${domain}`, { do: 'apply' }))] : [];
  }), `${sites.length} site${sites.length === 1 ? '' : 's'}`);
}

/** What is known of the room of a site that has a limit. */
export interface DiskFacts {
  domain: string;
  dataDir: string;
  limitBytes: number;
  /** Undefined where nobody has looked yet. */
  usedBytes: number | undefined;
  /** The kernel holds the limit; its disk has quotas of projects at all. */
  quota: boolean;
  offers: boolean;
}

/** @param missing programs that set quotas, with their packages; of interest where a disk has quotas */
export function judgeDisks(sites: readonly DiskFacts[], missing: readonly { program: string; package: string }[]): Verdict[] {
  const held = sites.filter(({ quota }) => quota).length;
  const short = sites.flatMap(({ domain, dataDir, usedBytes, limitBytes }) => {
    const use = usedBytes === undefined ? 'fits' : judgeUse(usedBytes, limitBytes);
    if (use === 'fits') return [];
    return [of(domain, (use === 'full' ? error : warning)(`its data takes ${describeUse(usedBytes ?? 0, limitBytes)}`, diskHint(domain, dataDir)))];
  });
  const unheld = sites.filter(({ quota, offers }) => offers && !quota);
  const packages = [...new Set(missing.map((each) => each.package))];
  const tools = missing.length > 0 && unheld.length > 0 ? [warning(`the disk has quotas, and ${missing.map(({ program }) => program).join(', ')} that would set them ${missing.length > 1 ? 'are' : 'is'} missing: limits.disk is only watched`, `apt-get install ${packages.join(' ')}; sitegen apply`)] : [];
  return unlessNone([...short, ...tools], sites.length === 0 ? 'no site has limits.disk' : `${sites.length} limited: ${held} by the kernel, ${sites.length - held} watched`);
}

/**
 * @param drift steps of each domain that apply would do, and `router` for the router's own
 * @param faults what keeps apply from a site, beyond faults of its settings
 */
export function judgeDrift(drift: ReadonlyMap<string, readonly string[]>, faults: readonly { domain: string; reason: string }[]): Verdict[] {
  const steps = [...drift].filter(([, lines]) => lines.length > 0).map(([domain, lines]) => {
    const what = `${lines[0] ?? ''}${lines.length > 1 ? `, and ${lines.length - 1} more` : ''}`;
    const verdict = warning(`to do: ${what}`, domain === 'router' ? 'sitegen diff; sitegen apply' : `sitegen diff ${domain}; sitegen apply ${domain}`, { do: 'apply' });
    return domain === 'router' ? verdict : of(domain, verdict);
  });
  return unlessNone([...steps, ...faults.map(({ domain, reason }) => of(domain, error(reason, `then: sitegen apply ${domain}`)))], 'none');
}

export function judgeLeftOvers(domains: readonly string[]): Verdict[] {
  return unlessNone(domains.map((domain) => warning(`${domain} has units or containers, and no settings`, 'sitegen apply takes them away, data stays; or put its settings back', { do: 'apply' })), 'none');
}

/** As `certs list --json` shows it. */
export interface CertificateFacts {
  domain: string;
  notAfter: string | null;
  source: 'acme' | 'manual' | 'none';
  /** null where nothing will be done. */
  nextTry: string | null;
  lastError: string | null;
  refused: string | null;
  leftOut: Readonly<Record<string, string>>;
  /** Where it should come from, as settings say. */
  way: 'acme' | 'manual' | 'none';
  /** Gets it. */
  unit: string;
}

const dayMs = 86_400_000;

export function judgeCertificate(facts: CertificateFacts, nowMs: number): Verdict[] {
  const { domain, source, way, lastError, unit } = facts;
  if (way === 'none') return [];
  const renew = { do: 'enqueue' as const, unit };
  const found: Verdict[] = [];
  const leftMs = facts.notAfter === null ? undefined : Date.parse(facts.notAfter) - nowMs;
  const because = lastError === null ? '' : `: ${lastError}`;
  if (facts.refused !== null) found.push(warning(`the certificate in its folder is not served: ${facts.refused}`, `sitegen certs import ${domain}, with a right one`));
  if (leftMs === undefined) {
    const next = facts.nextTry === null ? '' : `; the next try is on ${facts.nextTry.slice(0, 16).replace('T', ' ')}`;
    found.push(way === 'manual' ? warning('it has none, and a self-signed one serves', `sitegen certs import ${domain} --cert … --key …`) : warning(`a self-signed one serves${because}${next}`, `sitegen certs renew ${domain}`, renew));
  } else if (leftMs <= 0) {
    found.push(error(`it ended on ${facts.notAfter?.slice(0, 10) ?? ''}${because}`, source === 'manual' ? `sitegen certs import ${domain}, with a new one` : `sitegen certs renew ${domain}`, source === 'manual' ? undefined : renew));
  } else if (source === 'manual' && leftMs < 14 * dayMs) {
    found.push(warning(`it ends on ${facts.notAfter?.slice(0, 10) ?? ''}, and is not renewed by itself`, `sitegen certs import ${domain}, with a new one`));
  } else if (source === 'acme' && lastError !== null) {
    found.push((leftMs < 3 * dayMs ? error : warning)(`it ends on ${facts.notAfter?.slice(0, 10) ?? ''}, and its renewal failed${because}`, `sitegen certs renew ${domain}`, renew));
  }
  const without = Object.entries(facts.leftOut);
  if (without.length > 0) found.push(warning(`it is without ${listed(without.map(([name, reason]) => `${name} (${reason})`), 2)}`, `mend that, then: sitegen certs renew ${domain}`, renew));
  return found.map((verdict) => of(domain, verdict));
}

/** @param urls of the servers in the settings */
export function judgeServers(urls: readonly string[]): Verdict {
  if (urls.length < 2) return warning(urls.length === 0 ? 'none: if this server burns down, all is lost' : 'only one: a site counts as backed up when two have it', 'set backup.servers in sitegen.yaml: sitegen init, or docs/backups.md');
  const hosts = urls.map((url) => /^ssh:\/\/(?:[^@/]*@)?(\[[^\]]*\]|[^:/]*)/.exec(url)?.[1]?.toLowerCase());
  const twice = hosts.find((host, index) => hosts.indexOf(host) < index);
  return twice === undefined ? ok(listed(hosts.map((host) => host ?? ''))) : warning(`two of them are on ${twice}: they share its fate`, 'let the second be another machine, best at another provider');
}

/** @param answers of each server: why it does not answer as it should, with what to do */
export function judgeReachable(answers: readonly { url: string; error: string | undefined; hint: string | undefined }[]): Verdict[] {
  return unlessNone(answers.flatMap(({ url, error: reason, hint }) => (reason === undefined ? [] : [error(`${url}: ${reason.replace(/^.*?: /, '')}`, hint ?? 'it is tried again by itself; is the server up?')])), answers.length === 0 ? 'there are none' : `${answers.length} answer`);
}

/** What is known of a site's backups. */
export interface BackupFacts {
  domain: string;
  state: BackupState;
  wanted: boolean;
  /** Why it calls for an alarm. */
  stale: string | undefined;
  pushUnit: string;
}

export function judgeBackup({ domain, state, wanted, stale, pushUnit }: BackupFacts, urls: readonly string[]): Verdict[] {
  const { word, reason } = backupWord(state, urls, wanted);
  const push = { do: 'enqueue' as const, unit: pushUnit };
  const again = `sitegen backup ${domain}`;
  if (stale !== undefined) return [of(domain, error(stale, again, word === 'behind' ? push : undefined))];
  // That there are too few servers is said once.
  if (reason === undefined || word === 'local only') return [];
  return [of(domain, word === 'failed' ? error(reason, `${again}; journalctl -u 'sitegen-dump@*' -n 30`) : warning(reason, again, word === 'behind' ? push : undefined))];
}

/** A rehearsal is tried each week. */
const rehearsedMs = 21 * dayMs;

export function judgeRehearsal({ domain, state, wanted }: Pick<BackupFacts, 'domain' | 'state' | 'wanted'>, urls: readonly string[], nowMs: number): Verdict[] {
  if (!wanted || state.commit === null) return [];
  return urls.flatMap((url) => {
    const last = state.rehearsals[url];
    const again = `sitegen backup rehearse ${domain}`;
    if (last?.error != null) return [of(domain, error(`a restore from ${url} failed on ${last.at.slice(0, 10)}: ${last.error}`, again))];
    const sinceMs = nowMs - Date.parse(last?.at ?? state.committedAt ?? '');
    return sinceMs > rehearsedMs ? [of(domain, warning(last ? `the last restore from ${url} was rehearsed on ${last.at.slice(0, 10)}` : `a restore from ${url} was never rehearsed`, again))] : [];
  });
}
