import { noBackup } from '../../../../lib/pure/backup.ts';
import { judgeBackup, judgeCertificate, judgeDisks, judgeDrift, judgeLeftOvers, judgeReachable, judgeRehearsal, judgeServers, judgeSites } from '../../../../lib/pure/doctor/sites.ts';
import type { State } from '../../../../lib/pure/state.ts';
import { judges } from './_verdicts.ts';

const domain = 'a.com';
const site = (state: State, reason: string | null = null) => judgeSites([{ domain, state, reason }]);
for (const state of ['asleep', 'awake', 'frozen', 'waking', 'created', 'disabled', 'routed', 'installing'] as const) judges(`a site that is ${state}`, site(state, 'x'), ['ok', /^1 site$/]);
judges('a site whose wake failed', site('broken', 'its last wake failed'), ['error', /wake failed/]);
judges('a site without its data', site('data', 'its data directory is missing'), ['error', /missing/]);
judges('a site that was never applied', site('configured', 'its units are not written yet'), ['error', /not written/, 'apply']);
judges('a site without its image', site('image'), ['warning', /image/, 'apply']);

const room = { domain, dataDir: '/d', limitBytes: 1000, usedBytes: 10 as number | undefined, quota: false, offers: false };
const noSetquota = [{ program: 'setquota', package: 'quota' }];
judges('no site with a limit of the disk', judgeDisks([], noSetquota), ['ok', /no site has limits\.disk/]);
judges('limits that are held and watched', judgeDisks([room, { ...room, quota: true, offers: true }, { ...room, usedBytes: undefined }], []), ['ok', /^3 limited: 1 by the kernel, 2 watched$/]);
judges('a disk without quotas does not need their programs', judgeDisks([room], noSetquota), ['ok', /1 watched/]);
judges('a disk with quotas, and no program to set them', judgeDisks([{ ...room, offers: true }], noSetquota), ['warning', /setquota that would set them is missing: limits\.disk is only watched/]);
judges('a site with little room, and one that is full', judgeDisks([{ ...room, usedBytes: 950 }, { ...room, usedBytes: 1000 }], []), ['warning', /takes 950B of 1000B/], ['error', /takes 1000B of 1000B/]);

judges('no drift', judgeDrift(new Map([['a.com', []]]), []), ['ok', /none/]);
judges('drift of a site and of the router', judgeDrift(new Map([['a.com', ['create x', 'start y']], ['router', ['reload']]]), []), ['warning', /create x, and 1 more/, 'apply'], ['warning', /reload/, 'apply']);
judges('a site that cannot be applied', judgeDrift(new Map(), [{ domain, reason: 'a stranger has its container' }]), ['error', /stranger/]);
judges('no left-overs', judgeLeftOvers([]), ['ok', /none/]);
judges('a left-over', judgeLeftOvers(['b.com']), ['warning', /b\.com has units/, 'apply']);

const nowMs = Date.parse('2026-11-27T12:00:00Z');
const certificate = { domain, notAfter: '2027-01-27T00:00:00Z', source: 'acme' as const, nextTry: '2026-12-27T00:00:00Z', lastError: null, refused: null, leftOut: {}, way: 'acme' as const, unit: 'u' };
const judged = (change: Partial<Record<keyof typeof certificate, unknown>>) => judgeCertificate({ ...certificate, ...change } as Parameters<typeof judgeCertificate>[0], nowMs);
judges('a certificate', judged({}));
judges('no certificate by choice', judged({ way: 'none', source: 'none', notAfter: null }));
judges('none yet', judged({ source: 'none', notAfter: null, lastError: 'no such name' }), ['warning', /self-signed one serves: no such name; the next try is on 2026-12-27/, 'enqueue']);
judges('none by hand', judged({ source: 'none', way: 'manual', notAfter: null, nextTry: null }), ['warning', /has none/]);
judges('one that has ended', judged({ notAfter: '2026-11-20T00:00:00Z' }), ['error', /ended on 2026-11-20/, 'enqueue']);
judges('one by hand that has ended', judged({ notAfter: '2026-11-20T00:00:00Z', source: 'manual', way: 'manual' }), ['error', /ended/]);
judges('one by hand that ends soon', judged({ notAfter: '2026-12-05T00:00:00Z', source: 'manual', way: 'manual' }), ['warning', /not renewed by itself/]);
judges('a renewal that failed', judged({ lastError: 'rate limited' }), ['warning', /renewal failed: rate limited/, 'enqueue']);
judges('a renewal that failed to the end', judged({ lastError: 'rate limited', notAfter: '2026-11-28T00:00:00Z' }), ['error', /renewal failed/, 'enqueue']);
judges('a short-lived one that is renewed in time', judged({ notAfter: '2026-11-30T00:00:00Z' }));
judges('one that was refused, and names that are left out', judged({ refused: 'no chain', leftOut: { 'www.a.com': 'has no address' } }), ['warning', /not served: no chain/], ['warning', /without www\.a\.com \(has no address\)/, 'enqueue']);

const [one, two] = ['ssh://b@one.example/x', 'ssh://b@two.example'] as const;
judges('two servers', judgeServers([one, two]), ['ok', /one\.example, two\.example/]);
judges('no servers', judgeServers([]), ['warning', /none/]);
judges('one server', judgeServers([one]), ['warning', /only one/]);
judges('one server twice', judgeServers([one, 'ssh://other@ONE.example:2222/y']), ['warning', /on one\.example/]);
judges('servers that answer', judgeReachable([{ url: one, error: undefined, hint: undefined }]), ['ok', /^1 /]);
judges('servers that do not', judgeReachable([{ url: one, error: 'ask ssh://b@one.example for a.com: Host key verification failed', hint: 'its host key' }, { url: two, error: 'timeout', hint: undefined }]), ['error', /one\.example.*Host key verification/], ['error', /two\.example: timeout/]);

const state = { ...noBackup, commit: 'c', committedAt: '2026-11-27T11:00:00Z', dumpedAt: '2026-11-27T11:00:00Z', servers: { [one]: { commit: 'c', at: '', acknowledged: true, error: null }, [two]: { commit: 'c', at: '', acknowledged: true, error: null } } };
const facts = { domain, state, wanted: true, stale: undefined, pushUnit: 'p' };
judges('a backup', judgeBackup(facts, [one, two]));
judges('no backup by choice', judgeBackup({ ...facts, wanted: false, state: noBackup }, [one, two]));
judges('no backup yet', judgeBackup({ ...facts, state: noBackup }, [one, two]), ['warning', /no backup yet/]);
judges('no servers, which is said once', judgeBackup(facts, []));
judges('a failed dump', judgeBackup({ ...facts, state: { ...state, error: 'disk full' } }, [one, two]), ['error', /disk full/]);
judges('a server behind', judgeBackup({ ...facts, state: { ...state, commit: 'd' } }, [one, two]), ['warning', /does not have the last commit/, 'enqueue']);
judges('a server behind for long', judgeBackup({ ...facts, state: { ...state, commit: 'd' }, stale: 'one does not have it' }, [one, two]), ['error', /one does not/, 'enqueue']);

const rehearsed = (at: string, error: string | null = null) => ({ ...state, rehearsals: { [one]: { at, commit: 'c', error }, [two]: { at: '2026-11-25T00:00:00Z', commit: 'c', error: null } } });
judges('rehearsals', judgeRehearsal({ ...facts, state: rehearsed('2026-11-24T00:00:00Z') }, [one, two], nowMs));
judges('a new site, not rehearsed yet', judgeRehearsal(facts, [one, two], nowMs));
judges('a rehearsal that failed', judgeRehearsal({ ...facts, state: rehearsed('2026-11-24T00:00:00Z', 'no answer') }, [one, two], nowMs), ['error', /failed on 2026-11-24: no answer/]);
judges('a rehearsal of long ago', judgeRehearsal({ ...facts, state: rehearsed('2026-10-01T00:00:00Z') }, [one, two], nowMs), ['warning', /rehearsed on 2026-10-01/]);
judges('an old site that never was rehearsed', judgeRehearsal({ ...facts, state: { ...state, committedAt: '2026-10-01T00:00:00Z' } }, [one], nowMs), ['warning', /never rehearsed/]);
judges('nothing to rehearse', judgeRehearsal({ ...facts, state: noBackup }, [one], nowMs));
