/**
 * How long after a failure the next try comes, milliseconds: a second, then twice as long each time,
 * up to five minutes.
 * @param failures how many there were before
 */
export function backoffMs(failures: number): number {
  return Math.min(300_000, 1000 * 2 ** Math.min(failures, 20));
}
