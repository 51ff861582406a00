import test from 'ava';
import { backupWord, endedUndumped, isUndumped, noBackup, parseEpoch, staleness, type BackupState } from '../../../lib/pure/backup.ts';

const urls = ['ssh://a', 'ssh://b'];
const at = '2026-11-21T12:00:00.000Z';
const now = Date.parse('2026-11-21T13:00:00.000Z');
const hour = 3_600_000;
const has = (commit: string | null, error: string | null = null) => ({ commit, at, acknowledged: true, error });
const well: BackupState = { ...noBackup, dumpedAt: at, committedAt: at, commit: 'c', servers: { 'ssh://a': has('c'), 'ssh://b': has('c') } };

const words: [title: string, state: Partial<BackupState>, servers: readonly string[], wanted: boolean, word: string, reason: RegExp | undefined][] = [
  ['on both servers', {}, urls, true, 'well', undefined],
  ['on both of which one was asked for something else once', { servers: { ...well.servers, 'ssh://c': has(null) } }, urls, true, 'well', undefined],
  ['not wanted', { error: 'x' }, urls, false, 'off', undefined],
  ['never made', { ...noBackup }, urls, true, 'none yet', /there is no backup yet/],
  ['failed, though the last one is everywhere', { error: 'no trailer' }, urls, true, 'failed', /not backed up: no trailer/],
  ['without servers', {}, [], true, 'local only', /no backup servers are set/],
  ['on the only server', {}, ['ssh://a'], true, 'local only', /only one backup server is set/],
  ['on one of two', { servers: { 'ssh://a': has('c'), 'ssh://b': has('old', 'silent') } }, urls, true, 'behind', /ssh:\/\/b silent/],
  ['not yet on a new server', { servers: { 'ssh://a': has('c') } }, urls, true, 'behind', /ssh:\/\/b does not have the last commit yet/],
];
for (const [title, state, servers, wanted, word, reason] of words) {
  test(`a backup that is ${title}: ${word}`, (t) => {
    const found = backupWord({ ...well, ...state }, servers, wanted);
    t.is(found.word, word as typeof found.word);
    if (reason) t.regex(found.reason ?? '', reason);
    else t.is(found.reason, undefined);
  });
}

const stale: [title: string, state: Partial<BackupState>, awakeHours: number | undefined, laterHours: number, reason: RegExp | undefined][] = [
  ['an hour after all was well', {}, 5, 0, undefined],
  ['asleep and on both servers for a year', {}, undefined, 9000, undefined],
  ['awake for three hours without one', { dumpedAt: at }, 4, 2, /it is awake, and its last backup is from 2026/],
  ['awake for a moment, with an old one', { dumpedAt: at }, 0.1, 9, undefined],
  ['awake for three hours and never dumped', { ...noBackup }, 3, 0, /still to come/],
  ['asleep after a dump that failed', { error: 'no trailer' }, undefined, 0, /it is asleep, and its last backup failed: no trailer/],
  ['asleep with a commit that a server lacks for long', { servers: { 'ssh://a': has('c') } }, undefined, 2, /ssh:\/\/b does not have its commit/],
  ['asleep with a commit that a server lacks since an hour', { servers: { 'ssh://a': has('c') } }, undefined, 0, undefined],
  ['backed up in a future that is past since the clock was set back', { dumpedAt: '2027-01-01T00:00:00Z', committedAt: '2027-01-01T00:00:00Z' }, 5, 0, undefined],
];
for (const [title, state, awakeHours, laterHours, reason] of stale) {
  test(`a site ${title} ${reason ? 'calls for an alarm' : 'is no alarm'}`, (t) => {
    const later = now + laterHours * hour;
    const said = staleness({ ...well, ...state }, { servers: urls, wanted: true, awakeSince: awakeHours === undefined ? undefined : later - awakeHours * hour, now: later });
    if (reason) t.regex(said ?? '', reason);
    else t.is(said, undefined);
    t.is(staleness({ ...well, ...state }, { servers: urls, wanted: false, awakeSince: 0, now: later }), undefined);
  });
}

test('a container that ended long after its last dump was not dumped at its end', (t) => {
  t.false(endedUndumped({ dumpedAt: at }, undefined), 'it never ran');
  t.false(endedUndumped({ dumpedAt: at }, '2026-11-21T12:00:20Z'), 'an orderly stop');
  t.false(endedUndumped({ dumpedAt: at }, '2026-11-21T11:00:00Z'), 'dumped again since');
  t.true(endedUndumped({ dumpedAt: at }, '2026-11-21T12:50:00.123456789Z'), 'a crash between two dumps');
  t.true(endedUndumped({ dumpedAt: null }, '2026-11-21T12:50:00Z'), 'never dumped');
  t.false(endedUndumped({ dumpedAt: at, unchangedAt: '2026-11-21T12:49:50.000Z' }, '2026-11-21T12:50:00Z'), 'nothing had changed');
  t.true(endedUndumped({ dumpedAt: at, unchangedAt: '2026-11-21T12:10:00.000Z' }, '2026-11-21T12:50:00Z'), 'it was woken after that');
  t.false(endedUndumped({ dumpedAt: at, unchangedAt: '2026-11-20T12:00:00.000Z' }, '2026-11-21T12:00:20Z'), 'a note from before the dump');
});

const dumps: [what: string, dumpedAt: string | null, usedAt: number | undefined, undumped: boolean][] = [
  ['never dumped', null, 0, true],
  ['used after its dump', at, Date.parse(at) + 1, true],
  ['used at some time that is not known', at, undefined, true],
  ['dumped after it was used', at, Date.parse(at) - 1, false],
  ['dumped in the future, as the clock was set back', '2027-01-01T00:00:00.000Z', Date.parse(at), true],
];

for (const [what, dumpedAt, usedAt, undumped] of dumps) test(`a site that was ${what} ${undumped ? 'has' : 'has not'} to be dumped before it is stopped`, (t) => { t.is(isUndumped({ dumpedAt }, usedAt, now), undumped); });

test('an epoch is read only where all of it is there', (t) => {
  const whole = { epoch: 3, server: 'web1', key: 'SHA256:x', address: 'web1.example.net' };
  t.deepEqual(parseEpoch(JSON.stringify(whole)), whole);
  t.deepEqual(parseEpoch(JSON.stringify({ ...whole, proxyProtocol: true, more: 1 })), { ...whole, proxyProtocol: true });
  for (const text of ['', 'null', '[]', '{}', JSON.stringify({ ...whole, epoch: '3' }), JSON.stringify({ ...whole, epoch: 1.5 }), JSON.stringify({ ...whole, address: '' })]) t.is(parseEpoch(text), undefined, text);
});
