import { randomInt } from 'node:crypto';

/** Nothing that a shell, a URL, SQL or a configuration file would take for something else. */
const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';

/** A random text of letters and digits, each as likely as any other. */
export function makeSecret(length: number): string {
  return Array.from({ length }, () => letters.charAt(randomInt(letters.length))).join('');
}
