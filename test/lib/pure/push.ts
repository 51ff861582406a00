import test from 'ava';
import { nextStep, recoverBranch, settleConflict, type Conflict, type Facts, type Settlement, type Step } from '../../../lib/pure/push.ts';

const facts = (given: Partial<Facts>): Facts => ({ ours: 'b', theirs: 'a', acknowledged: true, refill: false, relation: undefined, ...given });

function steps(title: string, ...cases: [Partial<Facts>, Step][]): void {
  test(title, (t) => {
    for (const [given, expected] of cases) t.is(nextStep(facts(given)), expected, JSON.stringify(given));
  });
}

steps('what is there already is not pushed',
  [{ theirs: 'b' }, 'done'],
  [{ theirs: 'b', acknowledged: false }, 'done']);

steps('an empty server gets the first push once, and is an alarm from then on',
  [{ theirs: undefined, acknowledged: false }, 'push'],
  [{ theirs: undefined, acknowledged: true }, 'lost'],
  [{ theirs: undefined, acknowledged: true, refill: true }, 'push']);

steps('only what ours descends from is pushed over',
  [{ relation: 'ahead' }, 'push'],
  [{ relation: 'behind' }, 'conflict'],
  [{ relation: 'diverged' }, 'conflict'],
  [{ relation: 'diverged', refill: true }, 'conflict']);

steps('what is not here yet is fetched to be compared', [{ relation: undefined }, 'fetch'], [{ relation: undefined, acknowledged: false }, 'fetch']);

function settles(title: string, ...cases: [Partial<Conflict>, Settlement][]): void {
  test(title, (t) => {
    for (const [given, expected] of cases) t.deepEqual(settleConflict({ relation: 'diverged', ourEpoch: 1, theirEpoch: 1, trusted: true, ...given }), expected, JSON.stringify(given));
  });
}

settles('the higher epoch has the site', [{ theirEpoch: 2 }, { aside: true, verdict: 'fenced' }], [{ theirEpoch: 2, relation: 'behind' }, { aside: false, verdict: 'fenced' }]);
settles('a higher epoch that nobody we trust has signed fences nobody',
  [{ theirEpoch: 9, trusted: false }, { aside: true, verdict: 'foreign' }],
  [{ theirEpoch: 9, trusted: false, relation: 'behind' }, { aside: false, verdict: 'foreign' }]);
settles('the same or a lower epoch is settled by people',
  [{}, { aside: true, verdict: 'diverged' }],
  [{ ourEpoch: 3, theirEpoch: 2 }, { aside: true, verdict: 'diverged' }],
  [{ relation: 'behind' }, { aside: false, verdict: 'newer' }],
  [{ ourEpoch: 0, theirEpoch: 0 }, { aside: true, verdict: 'diverged' }]);

test('a branch for what cannot go to main has a name that git takes', (t) => {
  const now = new Date('2026-11-21T19:00:01.250Z');
  t.is(recoverBranch('web1.example.com', now), 'recover/web1-example-com-2026-11-21T19-00-01-250Z');
  t.is(recoverBranch('..@{-', now), 'recover/server-2026-11-21T19-00-01-250Z');
});
