import type { z } from 'zod';

/** Texts by which somebody could want to say more than one value, by what they are. */
export const hostile: Record<string, string> = {
  'a line break': 'x\nExecStartPre=/bin/reboot',
  'a line break and a section': '/x\n[Service]\nExecStartPre=/bin/reboot\n',
  'a carriage return': '/x\rExecStartPre=/bin/reboot',
  'a continued line': '/x\\\nExecStartPre=/bin/reboot',
  'a backslash at the end': '/x\\',
  'an escaped line break': '/x\\nExecStartPre=/bin/reboot',
  'a closing quote': '/x" "SITEGEN_PORT=1',
  'a single quote': "/x' 'SITEGEN_PORT=1",
  'a specifier': '/%n%H%%',
  'a command': '/$(reboot)`reboot`;reboot|reboot&',
  'a variable': '/${HOME}$HOME',
  'a comment': '# x',
  'a line separator': '/x\u2028ExecStartPre=/bin/reboot',
  'a next line character': '/x\u0085ExecStartPre=/bin/reboot',
  'a zero byte': '/x\0ExecStartPre=/bin/reboot',
  'an escape sequence': '/\u001B[31mx',
  'letters of other scripts': '/é漢🙂\u202Ex',
  'half a character': '/\uD800x',
  'a way up': '../../../../etc',
  'a tag of mustache': '/{{&codeDir}}{{missing}}',
  'a very long text': `/${'x'.repeat(70_000)}`,
  nothing: '',
  // What HAProxy and its maps would take for more.
  'another entry of a map': 'x\nother.example example.com|serve',
  'another field of an entry': '/x|be_site|127.0.0.1|80',
  'a fetch of HAProxy': '/%[env(HOME)]%[src]',
  'a directive of HAProxy': '/x\n\tuse_backend be_none\n',
  'a comment behind something': '/x #y',
  'spaces around': ' /x ',
  'announced further lines': '/x <<',
  'one dot more': '/x/./y/../z//',
};

export type Path = readonly string[];

/** Paths of everything in a schema that may be text; "0" stands for a list's items, "*" for any key. */
export function textPaths(schema: unknown, at: Path = []): Path[] {
  const { def } = schema as { def: Record<string, unknown> & { type: string } };
  switch (def.type) {
    case 'string': case 'enum': return [at];
    case 'object': return Object.entries((schema as z.ZodObject).shape).flatMap(([key, inner]) => textPaths(inner, [...at, key]));
    case 'record': return [[...at, '*'], ...textPaths(def['valueType'], [...at, keyOf(at)])];
    case 'array': return textPaths(def['element'], [...at, '0']);
    case 'union': return unique((def['options'] as unknown[]).flatMap((option) => textPaths(option, at)));
    case 'pipe': return textPaths(def['in'], at);
    case 'optional': return textPaths(def['innerType'], at);
    case 'number': case 'int': case 'boolean': case 'literal': return [];
    // A Compose project, which is read in a second step.
    case 'unknown': return [];
    default: throw new Error(`${at.join('.')}: ${def.type} is new here`);
  }
}

/** A password's hash that is taken. */
export const harmlessHash = '$6$abcdefgh$abcdefghijklmnopqrstuvwxyz0123456789./';

/** An object that has only a value at a path, and what has to be beside it. */
export function holding(path: Path, value: string, at: Path = []): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return value;
  if (key === '*') return { [value]: { paths: 'http://127.0.0.1:8080', auth: harmlessHash }[at.at(-1) ?? ''] ?? 'x' };
  if (key === '0') return [holding(rest, value, [...at, key])];
  if (at.at(-1) === 'compose') return { entrypoint: 'web', project: { services: { web: { image: 'x' } } }, [key]: holding(rest, value, [...at, key]) };
  const program = at.at(-1) === 'process' && key !== 'command' && key !== 'script' ? { command: ['/x'] } : {};
  const needed = ['proxy', 'passthrough', 'redirect'].includes(at.at(-1) ?? '') && key !== 'to' ? { to: at.at(-1) === 'passthrough' ? '127.0.0.1:8443' : 'http://127.0.0.1:8080' } : {};
  return { ...program, ...needed, [key]: holding(rest, value, [...at, key]) };
}

/** Beginnings without which no text would be taken for what belongs there, and an empty one. */
export function openingsOf(path: Path): string[] {
  const known: [RegExp, string[]][] = [
    [/^(domain|aliases|redirects)|\bhost$/, ['a.example']],
    [/static|directory|notFound|volumes/, ['www', './www', '/srv/www']],
    [/git$/, ['https://git.example/x', 'git@git.example:x', 'ssh://git.example/x']],
    [/proxy|redirect|passthrough|paths|unknown|metrics/, ['https://example.org', 'http://127.0.0.1:8080', 'http://127.0.0.1:8080/x', 'unix:/run/x', '127.0.0.1:80', 'example.org:80', '[::1]:80']],
    [/^listen/, ['25', '25:25']],
    [/^auth/, ['alice', harmlessHash]],
    [/allow/, ['192.0.2.7', '192.0.2.0/24', '2001:db8::/32']],
    [/hsts|timeout|retryAfter/i, ['1h']],
    [/maxBody/, ['1M']],
    [/^headers/, ['X-A', "default-src 'self'"]],
  ];
  return ['', ...known.filter(([names]) => names.test(path.join('.'))).flatMap(([, openings]) => openings)];
}

/** Every hostile text with every opening that fits a path. */
export function hostileFor(path: Path): [name: string, value: string][] {
  return openingsOf(path).flatMap((opening) => Object.entries(hostile).map(([name, value]): [string, string] => [opening === '' ? name : `${opening} and ${name}`, `${opening}${value}`]));
}

/** Settings of a site that have only this, and an image where nothing else says what the site is. */
export function settingsWith(path: Path, value: string): Record<string, unknown> {
  const isKind = ['app', 'compose', 'process', 'static', 'proxy', 'passthrough', 'redirect'].includes(path[0] ?? '');
  return { domain: 'example.com', ...(isKind ? {} : { image: 'x' }), ...holding(path, value) as object };
}

function keyOf(record: Path): string {
  return record.at(-1) === 'paths' ? '/key' : 'KEY';
}

function unique(paths: readonly Path[]): Path[] {
  return [...new Map(paths.map((path) => [path.join('\0'), path])).values()];
}
