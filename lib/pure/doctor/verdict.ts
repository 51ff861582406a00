import type { CheckId } from './checks.ts';

export type Severity = 'ok' | 'warning' | 'error';

/** What `--fix` can do by itself; each may be done again, and takes nothing away that somebody made. */
export type Fix =
  | { do: 'apply' }
  | { do: 'reload' }
  | { do: 'start' | 'reset' | 'enqueue' | 'install'; unit: string }
  /** `directory` has links by which systemd starts the unit at boot. */
  | { do: 'enable'; unit: string; directory: string }
  | { do: 'sysctl' }
  | { do: 'forward' }
  | { do: 'mode'; path: string; mode: number }
  | { do: 'unlock'; file: string };

/** What a check found. */
export interface Verdict {
  severity: Severity;
  /** The site it is about; undefined for the machine. */
  domain?: string | undefined;
  found: string;
  /** What to do; none where all is well. */
  advice?: string | undefined;
  fix?: Fix | undefined;
}

/** A verdict with its check, and the reason for which the admin lives with it. */
export interface Finding extends Verdict {
  id: CheckId;
  ignored?: string | undefined;
}

export const ok = (found: string): Verdict => ({ severity: 'ok', found });
export const warning = (found: string, advice: string, fix?: Fix): Verdict => ({ severity: 'warning', found, advice, ...(fix && { fix }) });
export const error = (found: string, advice: string, fix?: Fix): Verdict => ({ severity: 'error', found, advice, ...(fix && { fix }) });

/** The same about a site. */
export function of(domain: string, verdict: Verdict): Verdict {
  return { ...verdict, domain };
}

/** The problems, or one verdict that all is well. */
export function unlessNone(problems: readonly Verdict[], well: string): Verdict[] {
  return problems.length > 0 ? [...problems] : [ok(well)];
}

type Ignore = Readonly<Record<string, string>>;

/**
 * Marks what the admin lives with.
 * @param machine `doctor.ignore` of `sitegen.yaml`: also what is about sites
 * @param sites the same of each site's settings, by domain
 */
export function withIgnored(findings: readonly Finding[], machine: Ignore, sites: ReadonlyMap<string, Ignore>): Finding[] {
  return findings.map((finding) => {
    const own = finding.domain === undefined ? undefined : sites.get(finding.domain)?.[finding.id];
    const reason = own ?? machine[finding.id];
    return finding.severity === 'ok' || reason === undefined ? finding : { ...finding, ignored: reason };
  });
}

/** As plugins of monitoring systems have it: 0 well or ignored, 1 a warning, 2 an error. */
export function exitCodeOf(findings: readonly Finding[]): 0 | 1 | 2 {
  const open = findings.filter(({ ignored }) => ignored === undefined);
  return open.some(({ severity }) => severity === 'error') ? 2 : open.some(({ severity }) => severity === 'warning') ? 1 : 0;
}

/** True when a version such as `257.9-1` or `6.1.0-18-amd64` is at least another one; false for what is none. */
export function atLeast(version: string, wanted: string): boolean {
  const parts = (text: string) => (/\d+(\.\d+)*/.exec(text)?.[0] ?? '').split('.').map(Number);
  const [have, want] = [parts(version), parts(wanted)];
  if (!/\d/.test(version)) return false;
  for (const [index, each] of want.entries()) {
    const difference = (have[index] ?? 0) - each;
    if (difference !== 0) return difference > 0;
  }
  return true;
}

/** Names for a sentence; the first few of many. */
export function listed(names: readonly string[], most = 5): string {
  return names.length <= most ? names.join(', ') : `${names.slice(0, most).join(', ')} and ${names.length - most} more`;
}

