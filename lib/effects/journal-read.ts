import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { SitegenError } from '../pure/errors.ts';
import { shared } from '../pure/paths.ts';
import { systemdIds } from '../pure/timeline.ts';

/** An entry with the fields that were asked for; `__REALTIME_TIMESTAMP` and `_BOOT_ID` are always there. */
export type JournalRecord = Readonly<Record<string, unknown>>;

const fields = 'MESSAGE_ID,SITEGEN_FROM,SITEGEN_TO,SITEGEN_CAUSE,SITEGEN_MS,SITEGEN_PHASES,UNIT_RESULT,EXIT_STATUS,_BOOT_ID';

/**
 * What tells of a site's life: its own transitions, what systemd says of its service, and the
 * machine's starts. All of it is in the journal's index, however long the journal is.
 */
function matches(domain: string, service: string): string[] {
  // Anybody may write a journal's fields, but for those that begin with "_".
  return [
    `MESSAGE_ID=${shared.transitionId}`, `SITEGEN_DOMAIN=${domain}`, '_UID=0', '+',
    `MESSAGE_ID=${systemdIds.unitFailed}`, `MESSAGE_ID=${systemdIds.unitEnded}`, `UNIT=${service}`, '_PID=1', '+',
    ...systemdIds.started.map((id) => `MESSAGE_ID=${id}`), '_PID=1',
  ];
}

/**
 * The entries of a site's life in a span of time, in their order, as they are read.
 * @param from, to milliseconds since 1970
 * @throws SitegenError when the journal cannot be read
 */
export function lifeOf(domain: string, service: string, from: number, to: number): AsyncGenerator<JournalRecord> {
  return read([...matches(domain, service), '--since', seconds(from), '--until', seconds(to)]);
}

/** The last of these entries before a time; `count` of them. */
export function lifeBefore(domain: string, service: string, before: number, count: number): AsyncGenerator<JournalRecord> {
  return read([...matches(domain, service), '--until', seconds(before - 1), `--lines=${count}`]);
}

/** When the journal begins, in milliseconds since 1970; undefined when it is empty. */
export async function journalBegins(): Promise<number | undefined> {
  return timeOf(await first(read([])));
}

/** When a boot wrote its last line, in milliseconds since 1970; undefined when it is not in the journal. */
export async function bootEnds(boot: string): Promise<number | undefined> {
  return timeOf(await first(read([`_BOOT_ID=${boot}`, '--lines=1'])));
}

/** How a unit failed when it last did: systemd's result, and its main process's exit status; undefined when the journal has lost it. */
export async function lastFailure(unit: string): Promise<{ result: string; exitStatus: string | undefined } | undefined> {
  const last = (id: string) => first(read([`MESSAGE_ID=${id}`, `UNIT=${unit}`, '_PID=1', '--lines=1']));
  const [failed, exited] = [await last(systemdIds.unitFailed), await last(systemdIds.exited)];
  const [result, exitStatus] = [failed?.['UNIT_RESULT'], exited?.['EXIT_STATUS']];
  return typeof result === 'string' ? { result, exitStatus: typeof exitStatus === 'string' ? exitStatus : undefined } : undefined;
}

function seconds(ms: number): string {
  return `@${Math.floor(ms / 1000)}.${String(Math.floor(ms % 1000)).padStart(3, '0')}`;
}

function timeOf(record: JournalRecord | undefined): number | undefined {
  const ms = Math.floor(Number(record?.['__REALTIME_TIMESTAMP']) / 1000);
  return ms > 0 ? ms : undefined;
}

async function first(records: AsyncGenerator<JournalRecord>): Promise<JournalRecord | undefined> {
  for await (const record of records) return record;
  return undefined;
}

/** One line at a time, no faster than they are used; whoever needs no more of them ends the program. */
async function* read(args: readonly string[]): AsyncGenerator<JournalRecord> {
  const child = spawn('journalctl', [...args, '--output=json', `--output-fields=${fields}`, '--no-pager', '--quiet'], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(-1000); });
  const ended = new Promise<string | undefined>((resolve) => {
    child.once('error', (error) => { resolve(error.message); });
    child.once('close', (code) => { resolve(code === 0 ? undefined : said.trim() || `exit code ${String(code)}`); });
  });
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const record = parse(line);
      if (record) yield record;
    }
    const fault = await ended;
    if (fault !== undefined) throw new SitegenError(`the journal cannot be read: ${fault}`, { hint: 'look at: journalctl --verify' });
  } finally {
    child.kill();
  }
}

/** What journalctl had not written to its end says nothing. */
function parse(line: string): JournalRecord | undefined {
  try {
    return JSON.parse(line) as JournalRecord;
  } catch {
    return undefined;
  }
}
