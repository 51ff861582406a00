import { execFile } from 'node:child_process';
import net from 'node:net';
import os from 'node:os';
import { promisify } from 'node:util';

/** This machine's ways to the rest of the world. */

/** Addresses of all interfaces but the loopback's, of one family. */
export function addressesOfFamily(family: 4 | 6): string[] {
  return Object.values(os.networkInterfaces()).flatMap((each) => each ?? [])
    .filter((each) => each.family === `IPv${family}` && !each.internal).map(({ address }) => address.replace(/%.*$/, ''));
}

/** The device of the default route; undefined when there is none. */
export async function defaultDevice(family: 4 | 6): Promise<string | undefined> {
  const { stdout } = await promisify(execFile)('ip', [`-${family}`, '-json', 'route', 'show', 'default'], { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } }).catch(() => ({ stdout: '' }));
  const [route] = (stdout.trim() === '' ? [] : JSON.parse(stdout)) as { dev?: string; nexthops?: { dev?: string }[] }[];
  return route && (route.dev ?? route.nexthops?.[0]?.dev ?? '');
}

/** Whether a server accepts connections over TCP. */
export function connects(host: string, port: number, timeoutMs: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const end = (reached: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reached);
    };
    // Its own time limit does not count while the name is looked up.
    const timer = setTimeout(() => { end(false); }, timeoutMs);
    socket.once('connect', () => { end(true); }).once('error', () => { end(false); });
  });
}
