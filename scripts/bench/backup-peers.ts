import { access, mkdir, writeFile } from 'node:fs/promises';
import { build } from 'esbuild';
import { execa } from 'execa';

/** A program with arguments, run in a directory. */
export interface Step {
  command: readonly string[];
  environment?: Readonly<Record<string, string>>;
}

/** A way to back a site up. Each keeps what it has in a directory of its own. */
export interface Way {
  name: string;
  prepare: Step[];
  /** Puts the site's present state into the local store; `send` puts it on another one. */
  save: Step[];
  send: Step[];
  /** Makes what is stored small. */
  shrink: Step[];
  /** Where it is stored. */
  stored: string;
  /** Brings all of it back into a new directory from where it was sent. */
  restore(into: string): Step[];
}

/** BACKUP.md's settings, which were the best that plain git could do. */
const tuned = ['gc.auto=0', 'core.looseCompression=1', 'core.fsync=all', 'core.fsyncMethod=batch', 'pack.windowMemory=64m', 'pack.threads=1', 'user.name=bench', 'user.email=bench', 'core.bare=false'];
const receiver = ['receive.denyNonFastForwards=true', 'receive.fsckObjects=true', 'receive.autogc=false', 'core.fsync=all', 'core.fsyncMethod=batch'];
const git = (directory: string, ...args: string[]): Step => ({ command: ['git', '--git-dir', directory, ...args], environment: { GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' } });
const configured = (directory: string, lines: readonly string[]) => lines.map((line) => git(directory, 'config', line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)));

/**
 * The ways that this machine has.
 * @param site with `data/` and `meta/dump.sql`
 */
export async function backupWays(root: string, site: string): Promise<Way[]> {
  const driver = `${root}/driver.mjs`;
  await build({ entryPoints: ['scripts/bench/backup-driver.mjs'], outfile: driver, bundle: true, platform: 'node', format: 'esm', target: 'node18', minify: true, logLevel: 'warning', banner: { js: "import{createRequire as _cr}from'node:module';const require=_cr(import.meta.url);" } });
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', `${root}/key`]);
  const node = (...args: string[]): Step => ({ command: [process.execPath, driver, ...args] });
  const ways: Way[] = [await sitegenWay(root, site, node), await gitWay(root, site)];
  for (const [program, way] of [['restic', resticWay], ['borg', borgWay]] as const) {
    if (await isInstalled(program)) ways.push(await way(root, site));
    else console.log(`  ${program} is not installed and is left out: apt-get install ${program === 'borg' ? 'borgbackup' : program}`);
  }
  return ways;
}

async function sitegenWay(root: string, site: string, node: (...args: string[]) => Step): Promise<Way> {
  const dir = await own(root, 'sitegen');
  const server = `${dir}/server.git`;
  return {
    name: 'sitegen',
    prepare: [git(server, 'init', '-q', '--bare', '-b', 'main', server), ...configured(server, receiver)],
    save: [node('commit', dir, site, `${root}/key`)],
    send: [git(`${dir}/site.git`, 'push', '-q', server, 'main')],
    shrink: [node('repack', dir)],
    stored: `${dir}/site.git`,
    // As adopting does: fetch, then write out with every check.
    restore: (into) => [{ command: ['git', 'clone', '-q', '--bare', '--no-local', server, `${into}.git`] }, node('extract', dir, `${into}.git`, into)],
  };
}

async function gitWay(root: string, site: string): Promise<Way> {
  const dir = await own(root, 'git');
  const [local, server] = [`${dir}/site.git`, `${dir}/server.git`];
  const inSite = (...args: string[]) => git(local, '--work-tree', site, ...args);
  const attributes: Step = { command: ['sh', '-c', `mkdir -p ${local}/info && printf '* -text -filter -ident -delta\\n*.sql delta\\n' > ${local}/info/attributes`] };
  return {
    name: 'git, tuned',
    prepare: [git(local, 'init', '-q', '-b', 'main', local), ...configured(local, tuned), attributes, git(server, 'init', '-q', '--bare', '-b', 'main', server), ...configured(server, receiver)],
    save: [inSite('add', '-A', '-f', site), inSite('commit', '-q', '-m', 'backup')],
    send: [git(local, 'push', '-q', server, 'main')],
    shrink: [git(local, 'repack', '-a', '-d', '-q')],
    stored: local,
    restore: (into) => [{ command: ['git', 'clone', '-q', '--no-local', server, into] }],
  };
}

async function resticWay(root: string, site: string): Promise<Way> {
  const dir = await own(root, 'restic');
  await writeFile(`${dir}/password`, 'bench');
  const restic = (...args: string[]): Step => ({ command: ['restic', '-q', '-r', `${dir}/repo`, '--password-file', `${dir}/password`, '--cache-dir', `${dir}/cache`, ...args] });
  return { name: 'restic', prepare: [restic('init')], save: [restic('backup', site)], send: [], shrink: [restic('prune')], stored: `${dir}/repo`, restore: (into) => [restic('restore', 'latest', '--target', into)] };
}

async function borgWay(root: string, site: string): Promise<Way> {
  const dir = await own(root, 'borg');
  const environment = { BORG_BASE_DIR: dir, BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes', BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes' };
  const borg = (...args: string[]): Step => ({ command: ['borg', ...args], environment });
  return {
    name: 'borg',
    prepare: [borg('init', '-e', 'none', `${dir}/repo`)],
    save: [borg('create', `${dir}/repo::{utcnow:%Y%m%d%H%M%S%f}`, site)],
    send: [],
    shrink: [borg('compact', `${dir}/repo`)],
    stored: `${dir}/repo`,
    restore: (into) => [{ command: ['sh', '-c', `mkdir ${into} && cd ${into} && borg extract ${dir}/repo::$(borg list --last 1 --short ${dir}/repo)`], environment }],
  };
}

async function own(root: string, name: string): Promise<string> {
  await mkdir(`${root}/${name}`);
  return `${root}/${name}`;
}

async function isInstalled(program: string): Promise<boolean> {
  const found = (process.env['PATH'] ?? '').split(':').map((directory) => access(`${directory}/${program}`).then(() => true, () => false));
  return (await Promise.all(found)).includes(true);
}
