import { SitegenError } from '../errors.ts';

/**
 * Puts variables into all texts of a Compose project, as the Compose specification has it: `$NAME`,
 * `${NAME}`, `${NAME:-default}`, `${NAME:+other}`, `${NAME:?what is missing}`; the same without the
 * colon for variables that may be empty; `$$` for a dollar sign.
 * @param variables of the site's settings alone: nothing of this machine's environment gets in
 * @throws SitegenError for a variable that is required, and for a `$` that begins nothing
 */
export function interpolate(value: unknown, variables: Readonly<Record<string, string>>): unknown {
  if (typeof value === 'string') return textOf(value, variables, 0);
  if (Array.isArray(value)) return value.map((item) => interpolate(item, variables));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, interpolate(inner, variables)]));
}

/** Defaults may have variables in them, and those defaults again. */
const deepest = 8;

const simple = /^\$([A-Za-z_][A-Za-z0-9_]*)/;
const braced = /^([A-Za-z_][A-Za-z0-9_]*)(:?[-+?])?/;

function textOf(text: string, variables: Readonly<Record<string, string>>, depth: number): string {
  if (depth > deepest) throw new SitegenError(`variables are nested deeper than ${deepest} times in ${JSON.stringify(text)}`);
  let result = '';
  for (let at = 0; at < text.length;) {
    const rest = text.slice(at);
    if (!rest.startsWith('$')) {
      const next = rest.indexOf('$');
      result += next === -1 ? rest : rest.slice(0, next);
      at += next === -1 ? rest.length : next;
    } else if (rest.startsWith('$$')) {
      result += '$';
      at += 2;
    } else if (rest.startsWith('${')) {
      const length = closing(rest, text);
      result += substitute(rest.slice(2, length), variables, depth);
      at += length + 1;
    } else {
      const name = simple.exec(rest)?.[1];
      if (name === undefined) throw new SitegenError(`${JSON.stringify(text)}: "$" begins a variable; write "$$" for a dollar sign`);
      result += own(variables, name) ?? '';
      at += 1 + name.length;
    }
  }
  return result;
}

/** Where the brace closes that a text begins with. */
function closing(rest: string, text: string): number {
  let open = 0;
  for (let at = 1; at < rest.length; at++) {
    if (rest[at] === '{') open += 1;
    else if (rest[at] === '}' && --open === 0) return at;
  }
  throw new SitegenError(`${JSON.stringify(text)}: a brace is not closed`);
}

function substitute(inside: string, variables: Readonly<Record<string, string>>, depth: number): string {
  const [whole, name, operator] = braced.exec(inside) ?? [];
  if (whole === undefined || name === undefined || (operator === undefined && whole !== inside)) {
    throw new SitegenError(`"\${${inside}}" is not a variable: write \${NAME} or \${NAME:-default}`);
  }
  const word = inside.slice(whole.length);
  const value = own(variables, name);
  const isSet = value !== undefined && (operator?.startsWith(':') !== true || value !== '');
  if (operator?.endsWith('-') === true) return isSet ? value : textOf(word, variables, depth + 1);
  if (operator?.endsWith('+') === true) return isSet ? textOf(word, variables, depth + 1) : '';
  if (operator?.endsWith('?') === true && !isSet) throw new SitegenError(`the variable ${name} is required${word === '' ? '' : `: ${word}`}: set it in env or secrets`);
  return value ?? '';
}

function own(variables: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(variables, name) ? variables[name] : undefined;
}
