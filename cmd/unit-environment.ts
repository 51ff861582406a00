import { readListen } from '../lib/pure/listen.ts';

/** What a site's service tells the programs that it runs, from its Environment= settings. */
export function readUnitEnvironment(env: NodeJS.ProcessEnv = process.env) {
  const text = (name: string): string => {
    const value = env[`SITEGEN_${name}`];
    if (value === undefined) throw new Error(`SITEGEN_${name} is not set: this program is run by a site's service`);
    return value;
  };
  return {
    domain: text('DOMAIN'),
    container: text('CONTAINER'),
    site: text('SITE'),
    address: text('ADDRESS'),
    port: Number(text('PORT')),
    listen: readListen(env['SITEGEN_LISTEN'] ?? ''),
    readyPath: text('READY_PATH') === '' ? undefined : text('READY_PATH'),
    readyMs: Number(text('READY_MS')),
    stopMs: Number(text('STOP_MS')),
    /** How long a dump may hold the stop up; 0 for a site that is not backed up. */
    dumpLimitS: Number.parseInt(env['SITEGEN_DUMP_LIMIT'] ?? '0', 10),
  };
}
