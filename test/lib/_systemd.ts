/** One setting of a unit file as systemd reads it (systemd.syntax(7)). */
export interface Setting {
  section: string;
  key: string;
  value: string;
}

/**
 * Reads a unit file the way systemd's own parser does: sections, comments, and lines that a
 * backslash continues. Values are left as they are written.
 * @throws Error for a line that systemd would complain about
 */
export function readUnit(text: string): Setting[] {
  const settings: Setting[] = [];
  let section = '';
  let pending = '';
  // Like read_line() of systemd, which ends a line at CR and NUL too.
  for (const raw of text.split(/\r\n|[\n\r\0]/)) {
    const line = raw.trimStart();
    if (/^[#;]/.test(line)) continue;
    if (line.endsWith('\\')) {
      pending += `${line.slice(0, -1)} `;
      continue;
    }
    const whole = (pending + line).trim();
    pending = '';
    if (whole === '') continue;
    const head = /^\[([^\]]+)\]$/.exec(whole);
    if (head) {
      section = head[1] ?? '';
      continue;
    }
    const at = whole.indexOf('=');
    if (at < 1 || section === '') throw new Error(`not a setting: ${JSON.stringify(raw)}`);
    settings.push({ section, key: whole.slice(0, at).trim(), value: whole.slice(at + 1).trim() });
  }
  return settings;
}

/** Values that a unit gives to a setting, in order. */
export function valuesOf(settings: readonly Setting[], key: string): string[] {
  return settings.filter((setting) => setting.key === key).map(({ value }) => value);
}

/** Sections, keys and their numbers, without the values. */
export function shapeOf(settings: readonly Setting[]): string[] {
  return settings.map(({ section, key }) => `${section}.${key}`).sort();
}

/**
 * The variables that `Environment=` sets (systemd.exec(5)): words, quoted or not, with escapes
 * of C and doubled percent signs taken off.
 * @throws Error for a single percent sign, which systemd would take for a specifier
 */
export function environmentOf(settings: readonly Setting[]): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const value of valuesOf(settings, 'Environment')) {
    for (const word of wordsOf(value)) {
      const at = word.indexOf('=');
      variables[word.slice(0, at)] = word.slice(at + 1);
    }
  }
  return variables;
}

function wordsOf(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote = '';
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? '';
    if (char === '\\') {
      const escape = /^\\(?:x([0-9a-f]{2})|(["'\\]))/.exec(text.slice(at));
      if (!escape) throw new Error(`unknown escape in ${text}`);
      word = (word ?? '') + (escape[1] === undefined ? (escape[2] ?? '') : String.fromCharCode(parseInt(escape[1], 16)));
      at += escape[0].length - 1;
    } else if (char === '%') {
      if (text[at + 1] !== '%') throw new Error(`a specifier in ${text}`);
      word = `${word ?? ''}%`;
      at += 1;
    } else if (quote === '' ? char === '"' || char === "'" : char === quote) {
      quote = quote === '' ? char : '';
      word ??= '';
    } else if (quote === '' && /\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== '') throw new Error(`an open quote in ${text}`);
  return word === undefined ? words : [...words, word];
}
