import { spawn } from 'node:child_process';
import { printable } from '../pure/lines.ts';
import { shared } from '../pure/paths.ts';

/** An entry of the journal: fields without line breaks; MESSAGE has its lines. */
export interface Entry {
  fields: Readonly<Record<string, string>>;
  lines: readonly string[];
}

/** Writes an entry by the journal's own protocol, which Node cannot speak: it has no datagrams over unix sockets. Never throws. */
export function writeEntry({ fields, lines }: Entry): Promise<void> {
  return new Promise((resolve) => {
    const logger = spawn('logger', ['--journald'], { stdio: ['pipe', 'ignore', 'inherit'] });
    logger.once('error', (error) => {
      console.error(`<4>no entry in the journal: ${error.message}: ${lines.join('; ')}`);
      resolve();
    });
    logger.once('close', () => { resolve(); });
    logger.stdin.on('error', () => undefined);
    // A line of its own each: logger makes one message of them.
    logger.stdin.end([...lines.map((line) => `MESSAGE=${printable(line)}`), ...Object.entries(fields).map(([name, value]) => `${name}=${printable(value)}`), ''].join('\n'));
  });
}

/**
 * Writes lines into the journal as they come: each an entry of its own, and, while the journal is
 * slower than they are, several in one.
 * @returns `write` gives a promise once too many wait; `end` waits for all
 */
export function journalWriter(fields: Entry['fields']): { write: (line: string) => Promise<void> | undefined; end: () => Promise<void> } {
  let waiting: string[] = [];
  let writing: Promise<void> | undefined;
  const drain = async () => {
    while (waiting.length > 0) {
      const lines = waiting.splice(0, linesPerEntry);
      await writeEntry({ fields, lines });
    }
    writing = undefined;
  };
  return {
    write(line) {
      waiting.push(line);
      writing ??= drain();
      return waiting.length > linesPerEntry ? writing : undefined;
    },
    async end() {
      await writing;
      waiting = [];
    },
  };
}

/** A change in a site's life that no program of its service has seen. */
export interface Told {
  domain: string;
  service: string;
  from: 'running' | 'frozen';
  to: 'frozen' | 'asleep';
  cause: string;
  ms: number;
}

/** Writes such an entry as the shell programs do theirs; without a journal nothing is lost but that. */
export function tellTransition({ domain, service, from, to, cause, ms }: Told): Promise<void> {
  const text = to === 'frozen' ? 'frozen' : 'container stopped';
  return writeEntry({
    lines: [`asleep: ${text} in ${Math.round(ms)} ms (${cause}), was ${from}`],
    fields: {
      // A notice: of what is less, units with LogLevelMax= of their own, as the idle timer's, keep nothing.
      PRIORITY: '5',
      MESSAGE_ID: shared.transitionId, SYSLOG_IDENTIFIER: 'sitegen-sleep', OBJECT_SYSTEMD_UNIT: service,
      SITEGEN_DOMAIN: domain, SITEGEN_FROM: from, SITEGEN_TO: to, SITEGEN_CAUSE: cause, SITEGEN_MS: String(Math.round(ms)),
    },
  });
}

const linesPerEntry = 50;
