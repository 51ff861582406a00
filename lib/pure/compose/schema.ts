import * as z from 'zod';
import { parseSpan, parseSize } from '../quantities.ts';
import { splitWords } from './words.ts';

/**
 * What of the Compose specification a site may use. Values are brought into one form here; what they
 * must not be is in check.ts. Keys whose absence could surprise are not known, and so refused; what
 * is known and changes nothing, as `expose`, says nothing that is not so here anyway.
 */

/** What the admin may allow a site's project beyond that. */
export const permissions = [
  'privileged', 'capabilities', 'devices', 'security-opt', 'host-network', 'host-pid', 'host-ipc', 'host-users',
  'host-paths', 'docker-socket', 'ports', 'external-networks', 'external-volumes',
] as const;

export type Permission = (typeof permissions)[number];

export const serviceName = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}$/;

const name = (what: string) => z.string().regex(serviceName, `is not the name of a ${what}: use letters, digits, "_", "." and "-"`);
const scalar = z.union([z.string(), z.number(), z.boolean()]).transform(String).refine((value) => !value.includes('\0'), 'must not contain a zero byte');
const flag = z.union([z.boolean(), z.enum(['true', 'false']).transform((value) => value === 'true')]);
const words = z.union([z.array(scalar), z.string().transform((value, context) => {
  const split = splitWords(value);
  if (split) return split;
  context.addIssue({ code: 'custom', message: 'has a quotation mark that is not closed' });
  return z.NEVER;
})]);
const list = z.union([z.array(scalar), z.string().transform((value) => [value])]);

/** `NAME=value` in a list, or names with values; null stands for a value of the variables. */
const pairs = z.union([
  z.record(z.string(), scalar.nullable()),
  z.array(z.string()).transform((items) => Object.fromEntries(items.map((item) => {
    const at = item.indexOf('=');
    return at === -1 ? [item, null] : [item.slice(0, at), item.slice(at + 1)];
  }))),
]).transform((values) => values as Record<string, string | null>);

const time = z.union([z.string(), z.number()]).transform((value, context) => {
  const ms = parseSpan(String(value));
  if (ms !== undefined) return ms;
  context.addIssue({ code: 'custom', message: 'is not a time: write for example 30s or 1m30s' });
  return z.NEVER;
});
const bytes = z.union([z.string(), z.number()]).transform((value, context) => {
  const size = parseSize(String(value).toUpperCase().replace(/B$/, ''));
  if (size !== undefined && Number.isFinite(size)) return size;
  context.addIssue({ code: 'custom', message: 'is not a size: write for example 64m' });
  return z.NEVER;
});

export const conditions = ['service_started', 'service_healthy', 'service_completed_successfully'] as const;

const dependsOn = z.union([
  z.array(name('service')).transform((names) => Object.fromEntries(names.map((each) => [each, { condition: 'service_started' as const }]))),
  z.record(name('service'), z.strictObject({
    condition: z.enum(conditions, `is not a condition: write ${conditions.join(', ')}`).default('service_started'),
    required: z.literal(true, 'cannot be false: a service is there, or it is not').optional(),
  })),
]);

const healthcheck = z.strictObject({
  test: z.union([z.array(z.string()), z.string().transform((command) => ['CMD-SHELL', command])]).optional(),
  interval: time.optional(), timeout: time.optional(), start_period: time.optional(), start_interval: time.optional(),
  retries: z.union([z.int(), z.string()]).optional(),
  disable: flag.optional(),
});

const volume = z.union([z.string(), z.strictObject({
  type: z.enum(['bind', 'volume', 'tmpfs'], 'is not bind, volume or tmpfs'),
  source: z.string().optional(),
  target: z.string(),
  read_only: flag.optional(),
  bind: z.strictObject({ create_host_path: flag, propagation: z.unknown(), selinux: z.string() }).partial().optional(),
  volume: z.strictObject({ nocopy: flag }).partial().optional(),
  tmpfs: z.strictObject({ size: bytes, mode: z.union([z.int(), z.string().regex(/^[0-7]{1,4}$/, 'is not a mode: write "1777"')]) }).partial().optional(),
  consistency: z.string().optional(),
})]);

const serviceNetworks = z.union([
  z.array(name('network')).transform((names) => Object.fromEntries(names.map((each) => [each, null]))),
  z.record(name('network'), z.strictObject({ aliases: z.array(z.string()).optional(), priority: z.int().optional() }).nullable()),
]);

const service = z.strictObject({
  image: z.string().regex(/^[a-z0-9][a-z0-9._/:@-]*$/i, 'is not an image: write name, name:tag or name@sha256:…'),
  command: words.nullable(), entrypoint: words.nullable(),
  environment: pairs, working_dir: z.string(), user: scalar,
  hostname: z.string().regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$/, 'is not a host name'),
  labels: pairs, volumes: z.array(volume), tmpfs: list, depends_on: dependsOn, healthcheck,
  restart: z.string().regex(/^(no|always|unless-stopped|on-failure(:\d+)?)$/, 'is not no, always, unless-stopped or on-failure'),
  stop_signal: z.string().regex(/^(SIG)?[A-Z0-9+-]{1,12}$/, 'is not a signal'), stop_grace_period: time,
  init: flag, read_only: flag, shm_size: bytes, tty: flag, stdin_open: flag,
  expose: z.array(scalar), networks: serviceNetworks,
  cap_add: z.array(z.string()), cap_drop: z.array(z.string()), privileged: flag, devices: z.array(z.unknown()),
  security_opt: z.array(z.string()), pid: z.string(), ipc: z.string(), userns_mode: z.string(), network_mode: z.string(),
  ports: z.array(z.unknown()),
}).partial();

/** Names a service of the site's project. */
export const serviceField = (what: string) => name('service').describe(`service of a Compose project that ${what}; its entrypoint unless given`).optional();

/** A project, its variables put in, without what `refusedKeys` of check.ts names. */
export const projectSchema = z.strictObject({
  name: z.string().optional(),
  version: z.unknown().optional(),
  services: z.record(name('service'), service).refine((services) => Object.keys(services).length > 0, 'has no service'),
  volumes: z.record(name('volume'), z.strictObject({ external: flag, name: z.string(), driver: z.string(), driver_opts: z.unknown(), labels: pairs }).partial().nullable()).optional(),
  networks: z.record(name('network'), z.strictObject({ external: flag, name: z.string(), driver: z.string(), driver_opts: z.unknown(), internal: flag, attachable: flag, labels: pairs }).partial().nullable()).optional(),
});

export type ComposeProject = z.output<typeof projectSchema>;
export type ComposeService = z.output<typeof service>;

/** `compose:` of a site's settings. */
export const composeFields = z.strictObject({
  entrypoint: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}(:\d{1,5})?$/, 'is not a service: write SERVICE or SERVICE:PORT')
    .describe('service that visitors reach, and its port'),
  allow: z.array(z.enum(permissions, `is unknown; there are: ${permissions.join(', ')}`)).describe('what its services may do beyond what any site may').optional(),
  project: z.record(z.string(), z.unknown()).describe('the project, as in a Compose file: services, volumes, networks; variables are those of env and secrets'),
});

export type ComposeSettings = z.output<typeof composeFields>;
