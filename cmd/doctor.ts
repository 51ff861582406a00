import type { CommandModule } from 'yargs';
import type { Finding } from '../lib/pure/doctor/verdict.ts';
import { colors, print, printJson, report } from './output.ts';

interface Options {
  domain?: string | undefined;
  json?: boolean | undefined;
  fix?: boolean | undefined;
}

/** `sitegen doctor`: what is wrong with this machine and its sites, and what to do about it. */
export const doctorCommand: CommandModule<object, Options> = {
  command: 'doctor [domain]',
  describe: 'look for what is wrong with this machine and its sites, and say what to do',
  builder: (yargs) => yargs
    .positional('domain', { type: 'string', describe: 'only this site' })
    .option('fix', { type: 'boolean', describe: 'put right what is safe to' })
    .option('json', { type: 'boolean', describe: 'print JSON' })
    .epilogue('Exit code: 0 when all is well or ignored, 1 for warnings, 2 for errors.'),
  async handler({ domain: named, json, fix = false }) {
    const { selectDomains } = await import('../lib/usecases/domains.ts');
    const { withMachine, withMachineLocked } = await import('./connect.ts');
    const { examine } = await import('../lib/usecases/doctor/doctor.ts');
    const { exitCodeOf } = await import('../lib/pure/doctor/verdict.ts');
    const [domain] = named === undefined ? [] : await selectDomains([named], false);
    const look = () => withMachine((deps) => examine(deps, new Date(), domain));
    let findings = await look();
    let fixed = { done: [] as string[], failed: [] as string[] };
    if (fix && findings.some((finding) => finding.fix && finding.ignored === undefined)) {
      const { fixFindings } = await import('../lib/usecases/doctor/fix.ts');
      fixed = await withMachineLocked((deps) => fixFindings(deps, findings, domain));
      findings = await look();
    }
    if (json) {
      printJson({
        findings: findings.map(({ id, severity, domain: about, found, advice, fix: can, ignored }) => ({ id, severity, domain: about ?? null, found, advice: advice ?? null, fixable: can !== undefined, ignored: ignored ?? null })),
        fixed: fixed.done, failed: fixed.failed,
      });
    } else {
      for (const line of fixed.done) print(`fixed: ${line}`);
      for (const line of fixed.failed) print(`not fixed: ${line}`);
      for (const finding of findings) for (const line of linesOf(finding)) print(line);
      const count = (severity: Finding['severity']) => findings.filter((finding) => finding.severity === severity && finding.ignored === undefined).length;
      const open = findings.some((finding) => finding.fix && finding.ignored === undefined);
      report(`${count('error')} errors, ${count('warning')} warnings${open && !fix ? '; "sitegen doctor --fix" puts right what is safe to' : ''}`);
    }
    process.exitCode = exitCodeOf(findings);
  },
};

const columns = { severity: 8, id: 17 } as const;

/** A line with what was found, and one with what to do. */
function linesOf({ id, severity, domain, found, advice, ignored }: Finding): string[] {
  const { red, yellow, green, dim } = colors();
  const word = ignored === undefined ? severity : 'ignored';
  const paint = { ok: green, warning: yellow, error: red, ignored: dim }[word];
  const about = domain === undefined || found.startsWith(domain) ? found : `${domain}: ${found}`;
  const margin = ' '.repeat(columns.severity + columns.id + 2);
  const [first = '', ...rest] = about.split('\n');
  return [
    `${paint(word.padEnd(columns.severity))} ${id.padEnd(columns.id)} ${first}`,
    ...rest.map((line) => `${margin}${line}`),
    ...(ignored !== undefined ? [`${margin}ignored: ${ignored}`] : advice === undefined ? [] : [`${margin}→ ${advice}`]),
  ];
}
