/**
 * A command line's words as a shell splits them; nothing is expanded.
 * @returns undefined when a quotation mark is not closed
 */
export function splitWords(line: string): string[] | undefined {
  const found: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let at = 0; at < line.length; at++) {
    const char = line[at] ?? '';
    if (quote === undefined && /\s/.test(char)) {
      if (word !== undefined) found.push(word);
      word = undefined;
    } else if (quote === undefined && (char === '"' || char === '\'')) {
      quote = char;
      word ??= '';
    } else if (char === quote) {
      quote = undefined;
    } else if (char === '\\' && quote !== '\'' && at + 1 < line.length) {
      at += 1;
      const next = line[at] ?? '';
      // Within double quotes it escapes these alone.
      word = (word ?? '') + (quote === '"' && !'"\\$`'.includes(next) ? `\\${next}` : next);
    } else {
      word = (word ?? '') + char;
    }
  }
  if (quote !== undefined) return undefined;
  if (word !== undefined) found.push(word);
  return found;
}
