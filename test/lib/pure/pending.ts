import test from 'ava';
import { SitegenError } from '../../../lib/pure/errors.ts';
import { describePending, formatPending, parsePending, pendingOf } from '../../../lib/pure/pending.ts';

test('what the first container has to do is read as it was written', (t) => {
  for (const pending of [pendingOf({}), pendingOf({ install: true }), pendingOf({ install: true, begun: true }), pendingOf({ load: true, renamedFrom: 'old.example.com' })]) {
    t.deepEqual(parsePending(formatPending(pending)), pending);
  }
  t.is(parsePending(undefined), undefined);
  t.is(formatPending(pendingOf({ load: true, renamedFrom: 'old.example.com' })), 'load\nrename old.example.com\n');
});

test('a word that is unknown is never passed over', (t) => {
  t.throws(() => parsePending('load\nsomething\n'), { instanceOf: SitegenError, message: /something/ });
});

test('what is pending is said in words', (t) => {
  t.is(describePending(pendingOf({ install: true })), 'install it');
  t.is(describePending(pendingOf({ load: true, renamedFrom: 'a.example' })), 'load its dump and tell it that it was a.example');
  t.is(describePending(pendingOf({})), 'launch it');
});
