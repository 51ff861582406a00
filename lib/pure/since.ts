import { parseSpan } from './quantities.ts';

const dayMs = 86_400_000;

/**
 * Reads a point in the past: a span such as `24h` or `7d` before now, `today`, `yesterday`, or a
 * date and time such as `2026-11-01` or `2026-11-01 08:00`, of the machine's own time zone unless it names one.
 * @returns milliseconds since 1970, or undefined when it is none, or not in the past
 */
export function parseSince(text: string, now: number): number | undefined {
  const trimmed = text.trim();
  const midnight = (ms: number) => {
    const date = new Date(ms);
    return new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  };
  if (trimmed === 'today') return midnight(now);
  // Half a day more, as days may have 23 hours.
  if (trimmed === 'yesterday') return midnight(midnight(now) - dayMs / 2);
  const span = /^\d+$/.test(trimmed) ? undefined : parseSpan(trimmed);
  if (span !== undefined) return span > 0 && span < now ? now - span : undefined;
  const date = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2})?)(Z|[+-]\d{2}:\d{2})?)?$/.exec(trimmed);
  if (!date) return undefined;
  // Without a time of day JavaScript would take UTC.
  const at = Date.parse(`${date[1] ?? ''}T${date[2] ?? '00:00'}${date[3] ?? ''}`);
  return Number.isNaN(at) || at > now ? undefined : at;
}
