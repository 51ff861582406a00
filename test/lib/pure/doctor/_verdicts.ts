import test from 'ava';
import type { Fix, Severity, Verdict } from '../../../../lib/pure/doctor/verdict.ts';

/** What a judging function has to find: `severity: text`, with the fix that it offers, if any. */
type Expected = [severity: Severity, found: RegExp, fix?: Fix['do']];

/** A test that facts are judged so, and that each problem comes with what to do. */
export function judges(what: string, verdicts: Verdict | readonly (Verdict | undefined)[] | undefined, ...expected: Expected[]): void {
  test(what, (t) => {
    const found = [verdicts].flat().filter((verdict) => verdict !== undefined);
    t.deepEqual(found.map(({ severity }) => severity), expected.map(([severity]) => severity), JSON.stringify(found));
    for (const [index, verdict] of found.entries()) {
      t.regex(verdict.found, expected[index]?.[1] ?? /^$/);
      t.is(verdict.fix?.do, expected[index]?.[2]);
      t.is(verdict.advice === undefined, verdict.severity === 'ok', 'each problem says what to do');
    }
  });
}
