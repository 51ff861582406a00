/** systemd's notations for sizes, time spans and percentages (systemd.syntax(7), systemd.time(7)). */

const spanUnits: Record<string, number> = {
  us: 0.001, usec: 0.001, 'µs': 0.001, ms: 1, msec: 1,
  s: 1e3, sec: 1e3, second: 1e3, seconds: 1e3,
  m: 6e4, min: 6e4, minute: 6e4, minutes: 6e4,
  h: 3.6e6, hr: 3.6e6, hour: 3.6e6, hours: 3.6e6,
  d: 8.64e7, day: 8.64e7, days: 8.64e7, w: 6.048e8, week: 6.048e8, weeks: 6.048e8,
  month: 2.6298e9, months: 2.6298e9, y: 3.15576e10, year: 3.15576e10, years: 3.15576e10,
};

/**
 * Reads a time span such as `90`, `1min 30s` or `500ms`.
 * @returns milliseconds (a bare number counts seconds), or undefined when it is none
 */
export function parseSpan(text: string): number | undefined {
  const terms = [...text.trim().matchAll(/\s*(\d+(?:\.\d+)?)\s*([a-zµ]*)/gy)];
  if (terms.length === 0 || terms.map((term) => term[0]).join('') !== text.trim()) return undefined;
  let total = 0;
  for (const [, number, unit] of terms) {
    const factor = unit === '' ? 1e3 : spanUnits[unit ?? ''];
    if (factor === undefined) return undefined;
    total += Number(number) * factor;
  }
  return total;
}

/** True for a size such as `512M`, `1.5G`, `20%` (of the machine) or `infinity`; systemd ignores zero and what passes 64 bits. */
export function isSize(text: string): boolean {
  if (text === 'infinity' || isPercent(text, 100)) return true;
  const match = /^(\d+(?:\.\d+)?)([KMGTPE]?)$/.exec(text);
  const bytes = Number(match?.[1]) * 1024 ** ['', 'K', 'M', 'G', 'T', 'P', 'E'].indexOf(match?.[2] ?? '');
  return bytes >= 1 && bytes < 2 ** 63;
}

/** Bytes of a size that is no percentage; `infinity` gives more than any file has. */
export function parseSize(text: string): number | undefined {
  if (text === 'infinity') return 2 ** 52;
  const match = /^(\d+(?:\.\d+)?)([KMGTPE]?)$/.exec(text);
  return match && isSize(text) ? Math.floor(Number(match[1]) * 1024 ** ['', 'K', 'M', 'G', 'T', 'P', 'E'].indexOf(match[2] ?? '')) : undefined;
}

/** True for `N%` with N from just above 0 to `max`; systemd reads two decimals. */
export function isPercent(text: string, max = 1_000_000): boolean {
  const match = /^(\d+(?:\.\d{1,2})?)%$/.exec(text);
  const value = Number(match?.[1]);
  return match !== null && value > 0 && value <= max;
}

/** Milliseconds as a person reads them: `850 ms`, `4.2 s`, `3 min 5 s`. */
export function formatMs(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** Bytes as systemd-cgtop shows them: `12.3M`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'K', 'M', 'G', 'T'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return unit === 0 ? `${value}B` : `${value.toFixed(1)}${units[unit]}`;
}
