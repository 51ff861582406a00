import { execFile } from 'node:child_process';
import { SitegenError } from '../pure/errors.ts';

/**
 * Starts a unit and waits for it, as root, by systemd's own socket: also while the machine goes down
 * and D-Bus is gone.
 * @throws SitegenError when it fails, or takes longer
 */
export function startOverSocket(unit: string, timeoutMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('systemctl', ['--quiet', 'start', unit], { timeout: timeoutMs }, (error, _stdout, stderr) => {
      if (error) reject(new SitegenError(`${unit} could not be started: ${stderr.trim() || error.message}`, { cause: error }));
      else resolve();
    });
  });
}
