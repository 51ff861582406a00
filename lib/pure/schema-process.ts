import * as z from 'zod';
import { argv } from './schema-backup.ts';

/** Settings of a site whose program runs without a container; see schema.ts for what they are part of. */

const noZero = (text: string) => !text.includes('\0');
const zero = 'must not contain a zero byte';

const value = z.union([z.string(), z.number(), z.boolean()]).transform(String).refine(noZero, zero);

export const processFields = z.strictObject({
  // Not what systemd takes for a sign, such as + for root; and a path as it takes one (systemd.service(5)).
  command: argv().refine(([program = '']) => /^(\/[^\u0000-\u001f\u007f]+|[A-Za-z0-9_.][^/\u0000-\u001f\u007f]*)$/.test(program), 'does not begin with a program: write its absolute path, or its name alone').describe('program and arguments, without a shell; ${port} and ${address} are where it has to listen, ${DOMAIN.port} and ${DOMAIN.address} where another site\'s program does').optional(),
  script: z.string().min(1).refine(noZero, zero).describe('the same as lines of a shell, instead of "command"').optional(),
  args: z.array(value).describe('further arguments').optional(),
  cwd: z.string().regex(/^(\/|[A-Za-z0-9_])([^\u0000-\u001f\u007f"\\]*[^\u0000-\u0020\u007f"\\])?$/, 'is not a directory').refine((text) => !text.split('/').some((part) => part === '.' || part === '..'), 'must not contain "." or ".."').describe('working directory: below the site\'s data, or absolute; the data unless given').optional(),
  env: z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable\'s name'), value.refine((text) => !/[\u0000-\u0008\u000b-\u001f\u007f]/.test(text), 'must not contain control characters')).describe('environment of the program').optional(),
  listenFds: z.boolean().describe('true: it takes its socket from systemd (sd_listen_fds(3)), instead of opening a port').optional(),
}).refine((given) => (given.command === undefined) !== (given.script === undefined), 'needs either command or script');

export type ProcessSettings = z.output<typeof processFields>;

/** What a site with a program says of a container, by the keys that stand beside it. */
interface Beside {
  process?: ProcessSettings | undefined;
  port?: number | undefined;
  jobs?: Readonly<Record<string, false | { user?: string | undefined }>> | undefined;
  dump?: { user?: string | undefined } | undefined;
  hooks?: { upgrade?: unknown } | undefined;
  env?: unknown;
  volumes?: unknown;
  owners?: unknown;
  readOnly?: unknown;
  pin?: unknown;
  update?: unknown;
  listen?: unknown;
}

/** What of a site's settings cannot be meant for its program: the path of each, and why. */
export function besideProcess(site: Beside): [path: PropertyKey[], message: string][] {
  const ofContainer = 'belongs to a container, and process has none: take it out';
  const own = 'is another user, and all that a program without a container runs is its own user\'s: take it out';
  const isLow = site.port !== undefined && site.port < 1024 && site.process?.listenFds !== true;
  const wrong: [boolean, PropertyKey[], string][] = [
    [site.env !== undefined, ['env'], 'belongs to a container: write it into env of process'],
    ...(['volumes', 'owners', 'readOnly', 'pin', 'update'] as const).map((key): [boolean, PropertyKey[], string] => [site[key] !== undefined, [key], ofContainer]),
    [site.listen !== undefined, ['listen'], 'needs a container, as the kernel leads clients to an address of its own: take it out'],
    [site.hooks?.upgrade !== undefined, ['hooks', 'upgrade'], ofContainer],
    [site.dump?.user !== undefined, ['dump', 'user'], own],
    ...Object.entries(site.jobs ?? {}).map(([name, job]): [boolean, PropertyKey[], string] => [job !== false && job.user !== undefined, ['jobs', name, 'user'], own]),
    [isLow, ['port'], 'is root\'s alone: write 1024 to 65535; each program has an address of its own, so that several may have the same'],
  ];
  return wrong.flatMap(([isWrong, path, message]) => (isWrong ? [[path, message] satisfies [PropertyKey[], string]] : []));
}
