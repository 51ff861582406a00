import type { AppEnv } from './schema-app.ts';

/** Environment that an app gives its containers, for one site. */

/** A secret that is to be made for a site. */
export interface MissingSecret {
  name: string;
  length: number;
}

/** Words that stand for something of the site; other names are those of secrets. */
const siteWords = ['domain', 'url'] as const;

const reference = /\$\{([^}]*)\}/g;

/**
 * The environment with all that it refers to put in.
 * @param given what the site itself says of the environment, made secrets among it
 * @returns its values; and the secrets that are not made yet, without which the site cannot start
 */
export function resolveEnv(app: AppEnv, domain: string, given: Readonly<Record<string, string>>): { env: Record<string, string>; missing: MissingSecret[] } {
  const words: Record<string, string> = { domain, url: `https://${domain}` };
  const missing: MissingSecret[] = [];
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(app)) {
    if (typeof value === 'string') env[name] = value.replaceAll(reference, (whole, word: string) => words[word] ?? given[word] ?? whole);
    else if (given[name] === undefined) missing.push({ name, length: value.secret });
  }
  return { env: { ...env, ...given }, missing };
}

/** A secret that is still to be made, for people. */
export function describeSecret({ name, length }: MissingSecret): string {
  return `${name} (made: ${length} characters)`;
}

/** What refers to nothing, as the path of the key and what is allowed. */
export function envFaults(app: AppEnv): { path: string[]; message: string }[] {
  const secrets = Object.entries(app).flatMap(([name, value]) => (typeof value === 'string' ? [] : [name]));
  return Object.entries(app).flatMap(([name, value]) => (typeof value !== 'string' ? [] : [...value.matchAll(reference)].flatMap(([whole, word = '']) => {
    const known = siteWords.some((each) => each === word) || secrets.includes(word);
    return known ? [] : [{ path: ['env', name], message: `${whole} stands for nothing; there are: ${[...siteWords, ...secrets].map((each) => `\${${each}}`).join(', ')}` }];
  })));
}

/** What to tell whoever has added a site, line by line. */
export function notesFor(notes: string | undefined, domain: string): string[] {
  const words: Record<string, string> = { domain, url: `https://${domain}` };
  return (notes ?? '').trim().split('\n').filter((line, _, all) => all.length > 1 || line !== '').map((line) => line.replaceAll(reference, (whole, word: string) => words[word] ?? whole));
}
