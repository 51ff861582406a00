import { execFile } from 'node:child_process';
import net from 'node:net';
import { promisify } from 'node:util';
import { reasonOf, SitegenError } from '../pure/errors.ts';
import { router, trafficTable } from '../pure/names.ts';

/**
 * The running router, over HAProxy's runtime API. What is changed here lives in its memory alone,
 * so the files have to be written too. Every method throws `SitegenError`; nothing is undone.
 * Sources: HAProxy's management guide, "Unix Socket commands".
 */
export interface Router {
  /** The answer to a command that only asks. */
  show(command: string): Promise<string>;
  /** The entries of a map, by key. */
  map(file: string): Promise<Map<string, string>>;
  /** Sets an entry, be it there or not. The value may have spaces, and no line breaks. */
  setEntry(file: string, key: string, value: string): Promise<void>;
  /** Puts all entries of a map in force at once. */
  replaceMap(file: string, entries: ReadonlyMap<string, string>): Promise<void>;
  /** Takes an entry out; one that is not there is no error. */
  deleteEntry(file: string, key: string): Promise<void>;
  /** Puts a certificate in force: the whole PEM with chain and key, at the name of its file. New connections get it. */
  setCertificate(file: string, pem: string): Promise<void>;
  /** Forgets a certificate that no list names any more; one that is not there is no error. */
  deleteCertificate(file: string): Promise<void>;
  /** SHA-1 fingerprint of a certificate as the router has it, in upper-case hex; undefined when it has none. */
  fingerprint(file: string): Promise<string | undefined>;
  /** Lines of the certificate list, as `file name…`. */
  certList(): Promise<string[]>;
  /** Lets a certificate serve these names and no others; it has to be set before. */
  addToList(file: string, names: readonly string[]): Promise<void>;
  /** Lets it serve none; one that is not in the list is no error. */
  deleteFromList(file: string): Promise<void>;
}

/** Errors of the API are answers like any other; these are not. */
const fine = /^(|\d+\s*|Transaction (created|updated) for certificate .*!|New empty certificate store .*!|Committing .*\n(.*\n)*Success!|Inserting certificate .*Success!|Entry .* deleted in crtlist .*|Certificate .* deleted!)$/s;

/** Characters of a command's payload: it has to fit into one of HAProxy's buffers (16 KiB). */
const payloadMax = 12_000;

/** True when the router runs and can be talked to. */
export async function routerRuns(): Promise<boolean> {
  try {
    await ask('show version');
    return true;
  } catch {
    return false;
  }
}

/** What the router has counted, as it prints it; undefined when it cannot be asked. */
export async function askCounters(): Promise<string | undefined> {
  // Root has the second alone; programs that only look have the first.
  for (const socket of [router.statsSocket, router.adminSocket]) {
    try {
      // Longer than a busy router takes, and shorter than a scraper waits.
      return await ask(`show info;show table ${trafficTable}`, socket, 4000);
    } catch {
      // The other one, or nobody.
    }
  }
  return undefined;
}

/**
 * Lets HAProxy read configuration files, without putting anything in force.
 * @returns its complaints, or undefined when it would take them
 * @throws SitegenError when there is no HAProxy
 */
export async function complaintsOf(...files: readonly string[]): Promise<string | undefined> {
  try {
    await promisify(execFile)('haproxy', ['-c', ...files.flatMap((file) => ['-f', file])]);
    return undefined;
  } catch (error) {
    const { stdout = '', stderr = '', code } = error as { stdout?: string; stderr?: string; code?: unknown };
    if (code === 'ENOENT') throw new SitegenError('haproxy is not installed', { hint: 'run install.sh again, which installs it', cause: error });
    const said = `${stderr}${stdout}`.split('\n').filter((line) => /ALERT|error/i.test(line)).slice(0, 3).join('; ');
    return said === '' ? reasonOf(error) : said;
  }
}

/** The router, reached anew for each command, so nothing has to be closed. */
export function connectRouter(): Router {
  const there = async (command: string, absent?: RegExp): Promise<void> => {
    const answer = (await ask(command)).trim();
    if (!fine.test(answer) && absent?.test(answer) !== true) throw new SitegenError(`the router refuses "${firstWords(command)}": ${reasonOf(answer)}`);
  };
  const change = async (...commands: readonly string[]): Promise<void> => {
    for (const command of commands) await there(command);
  };
  const map = async (file: string): Promise<Map<string, string>> => {
    // A line is an internal number, the key, and the value.
    const lines = (await ask(`show map ${file}`)).split('\n').filter((line) => line.startsWith('0x'));
    return new Map(lines.map((line) => {
      const [, key = '', ...value] = line.split(' ');
      return [key, value.join(' ')];
    }));
  };
  // As `file:line`: only that tells apart entries of the same certificate.
  const listEntries = async (file: string): Promise<string[]> => {
    const lines = (await ask(`show ssl crt-list -n ${router.certList}`)).split('\n');
    return lines.map((line) => line.split(' ', 1)[0] ?? '').filter((entry) => entry.replace(/:\d+$/, '') === file && entry !== file);
  };
  return {
    show: (command) => ask(command),
    map,
    async setEntry(file, key, value) {
      // "add" would make a second entry beside one that is there, and deleting it first a gap.
      const answer = (await ask(`set map ${file} ${key} ${value.replaceAll(/[\\ ;<]/g, String.raw`\$&`)}`)).trim();
      if (fine.test(answer)) return;
      if (!/not found/i.test(answer)) throw new SitegenError(`the router refuses "set map ${file} ${key}": ${reasonOf(answer)}`);
      await change(`add map ${file} <<\n${key} ${value}\n`);
    },
    async replaceMap(file, entries) {
      const version = /(\d+)/.exec((await ask(`prepare map ${file}`)).replace(/^.*version:?/i, ''))?.[1];
      if (version === undefined) throw new SitegenError(`the router refuses "prepare map ${file}"`);
      let lines = '';
      const flush = async () => {
        if (lines !== '') await change(`add map @${version} ${file} <<\n${lines}`);
        lines = '';
      };
      for (const [key, value] of entries) {
        const line = `${key} ${value}\n`;
        if (lines.length + line.length > payloadMax) await flush();
        lines += line;
      }
      await flush();
      await change(`commit map @${version} ${file}`);
    },
    deleteEntry: (file, key) => there(`del map ${file} ${key}`, /not found/i),
    async setCertificate(file, pem) {
      const known = (await ask(`show ssl cert ${file}`)).includes('Filename:');
      await change(...(known ? [] : [`new ssl cert ${file}`]));
      // A transaction that somebody else left open would be carried out with ours.
      if (known) await ask(`abort ssl cert ${file}`);
      await change(`set ssl cert ${file} <<\n${pem.trim().replaceAll(/\n\n+/g, '\n')}\n`, `commit ssl cert ${file}`);
    },
    deleteCertificate: (file) => there(`del ssl cert ${file}`, /doesn't exist|not found/i),
    async fingerprint(file) {
      return /SHA1 FingerPrint: ([0-9A-F]+)/i.exec(await ask(`show ssl cert ${file}`))?.[1]?.toUpperCase();
    },
    async certList() {
      const lines = (await ask(`show ssl crt-list ${router.certList}`)).split('\n');
      return lines.filter((line) => line.startsWith('/')).map((line) => line.replace(/ \[[^\]]*\]/, '').trim());
    },
    async addToList(file, names) {
      const before = await listEntries(file);
      await change(`add ssl crt-list ${router.certList} <<\n${[file, ...names].join(' ')}\n`);
      // Only now, so that there is no moment without it.
      for (const entry of before) await change(`del ssl crt-list ${router.certList} ${entry}`);
    },
    async deleteFromList(file) {
      for (const entry of await listEntries(file)) await change(`del ssl crt-list ${router.certList} ${entry}`);
    },
  };
}

function firstWords(command: string): string {
  return command.split(/ <<|\n/, 1)[0] ?? command;
}

/** One command, one connection: HAProxy closes after its answer. A payload ends with an empty line. */
function ask(command: string, path: string = router.adminSocket, patienceMs = 30_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path);
    let answer = '';
    socket.setEncoding('utf8').setTimeout(patienceMs);
    socket.on('data', (chunk: string) => { answer += chunk; });
    socket.once('timeout', () => socket.destroy(new Error(`no answer within ${patienceMs / 1000} s`)));
    socket.once('error', (error) => {
      reject(new SitegenError(`the router cannot be reached: ${reasonOf(error)}`, { hint: `look at: systemctl status ${router.unit}`, cause: error }));
    });
    socket.once('end', () => { resolve(answer); });
    socket.write(`${command}\n`);
  });
}
