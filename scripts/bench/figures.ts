const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);

/** The value below which this share of all is. */
export function at(values: readonly number[], share: number): number {
  return sorted(values)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Number.NaN;
}

export function figures(title: string, values: readonly number[], unit: string): void {
  console.log(`  ${title.padEnd(44)} median ${at(values, 0.5).toFixed(1)} ${unit}, min ${at(values, 0).toFixed(1)}, p90 ${at(values, 0.9).toFixed(1)}`);
}

/** Medians of quotients of the same round, which hold when the machine's speed drifts. */
export function ratio(title: string, a: readonly number[], b: readonly number[]): void {
  const pairs = a.map((value, index) => value / (b[index] ?? Number.NaN));
  console.log(`  ${title.padEnd(44)} ${at(pairs, 0.5).toFixed(2)}   (${at(pairs, 0.25).toFixed(2)}–${at(pairs, 0.75).toFixed(2)})`);
}
