import { serve } from '../../../lib/usecases/buddy-held.ts';

/** Stands in for the forced command: what sshd runs for a key. */
const [dir = '', hooksDir = '', quota = '', silentMs = '600000'] = process.argv.slice(2);
process.exitCode = await serve({ owner: 'anna', quota: Number(quota), command: process.env['SSH_ORIGINAL_COMMAND'], dir, hooksDir, silentMs: Number(silentMs) });
