import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import test from 'ava';
import { containerPid, countOpen, openConnections, reclaim, runState, siteGroups, thawNow } from '../../../lib/effects/cgroup.ts';
import { folder, group } from '../usecases/_cgroup.ts';

const scope = `docker-${'0'.repeat(64)}.scope`;

test('nothing is found where no site runs', (t) => {
  const root = folder(t);
  t.deepEqual(siteGroups(root), []);
  mkdirSync(`${root}/site.slice/site-a.example.com.slice/site-a.example.com-app.slice`, { recursive: true });
  group(`${root}/site.slice/site-b.example.com.slice/site-b.example.com-app.slice`, { populated: false });
  group(`${root}/site.slice/other.slice/other-app.slice`);
  t.deepEqual(siteGroups(root), []);
});

test('an awake site has what its slices say, without pages that the kernel can read again, and with swap', (t) => {
  const root = folder(t);
  const site = `${root}/site.slice/site-my\\x2dsite.example.com.slice`;
  const appCgroup = `${site}/site-my\\x2dsite.example.com-app.slice`;
  group(site, { 'memory.current': '5000\n', 'memory.stat': 'anon 4000\ninactive_file 1000\n', 'memory.swap.current': '70\n' });
  group(`${site}/site-my-site.example.com.service`);
  group(appCgroup, { 'cpu.stat': 'usage_usec 1234\nuser_usec 1000\n' });
  group(`${appCgroup}/${scope}`, { 'cgroup.procs': '' });
  t.deepEqual(siteGroups(root), [{ id: 'my-site.example.com', appCgroup, service: true, frozen: false, isUsed: false, isDumped: false, cpuUs: 1234, trafficBytes: 0, memoryBytes: 4070 }]);
  t.is(siteGroups(root, 0.5)[0]?.memoryBytes, 4035);
});

test('what froze is told, be it the slice or the container alone, and what memory is not counted', (t) => {
  const root = folder(t);
  for (const [id, slice, container] of [['a.example.com', true, false], ['b.example.com', false, true], ['c.example.com', false, false]] as const) {
    const app = `${root}/site.slice/site-${id}.slice/site-${id}-app.slice`;
    group(app, { frozen: slice });
    group(`${app}/${scope}`, { frozen: container });
  }
  const groups = siteGroups(root);
  t.deepEqual(groups.map(({ id, frozen, service, memoryBytes }) => [id, frozen, service, memoryBytes]).sort(), [['a.example.com', true, false, undefined], ['b.example.com', true, false, undefined], ['c.example.com', false, false, undefined]]);
  t.deepEqual(groups.map(({ appCgroup }) => runState(appCgroup)).sort(), ['frozen', 'frozen', 'running']);
  t.is(runState(`${root}/site.slice/site-d.example.com.slice`), 'stopped');
});

test('a site is in use while a dump or a job of it runs, and not after that', (t) => {
  const root = folder(t);
  const ids = ['a.example.com', 'b.example.com', 'c.example.com', 'd.example.com'];
  for (const id of ids) group(`${root}/site.slice/site-${id}.slice/site-${id}-app.slice`);
  group(`${root}/system.slice/sitegen-dump@a.example.com.service`);
  group(`${root}/system.slice/sitegen-job@b.example.com:nightly.service`);
  group(`${root}/system.slice/sitegen-dump@c.example.com.service`, { populated: false });
  group(`${root}/system.slice/sitegen-push@d.example.com.service`);
  t.deepEqual(siteGroups(root).filter(({ isUsed }) => isUsed).map(({ id, isDumped }) => `${id}: ${isDumped}`).sort(), ['a.example.com: true', 'b.example.com: false']);
});

test('a thaw is of the slice and of the containers in it, also while one goes', (t) => {
  const root = folder(t);
  group(root, { 'cgroup.freeze': '1' });
  group(`${root}/${scope}`, { 'cgroup.freeze': '1' });
  mkdirSync(`${root}/docker-gone.scope/cgroup.freeze`, { recursive: true });
  thawNow({ appCgroup: root });
  for (const each of [root, `${root}/${scope}`]) t.is(readFileSync(`${each}/cgroup.freeze`, 'utf8'), '0', each);
  t.notThrows(() => { thawNow({ appCgroup: `${root}/none` }); });
});

test('memory is pushed out in pieces, until somebody says stop', async (t) => {
  const root = folder(t);
  const mebibyte = 1024 ** 2;
  writeFileSync(`${root}/memory.current`, String(40 * mebibyte));
  const asked: string[] = [];
  const goOn = (pieces: number) => () => {
    try {
      asked.push(readFileSync(`${root}/memory.reclaim`, 'utf8'));
    } catch {
      asked.push('nothing');
    }
    return asked.length <= pieces;
  };
  await reclaim(root, goOn(99));
  t.deepEqual(asked, ['nothing', String(16 * mebibyte), String(16 * mebibyte)]);
  t.is(readFileSync(`${root}/memory.reclaim`, 'utf8'), String(8 * mebibyte));
  asked.length = 0;
  await reclaim(root, goOn(1));
  t.deepEqual(asked, [String(8 * mebibyte), String(16 * mebibyte)]);
  t.is(await reclaim(`${root}/none`, () => true), 0);
});

test('open connections to some ports are those that neither end has given up', (t) => {
  const head = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
  const line = (port: string, state: string, address = '0100007F') => `   0: ${address}:${port} 0200000A:C001 ${state} 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n`;
  t.is(countOpen(head, [25]), 0);
  // Established, closed by the visitor, listening, TIME-WAIT, FIN-WAIT-2, another port, and one of IPv6.
  const text = [line('0019', '01'), line('0019', '08'), line('0019', '0A'), line('0019', '06'), line('0019', '05'), line('0050', '01'), line('09DD', '01', '0'.repeat(32))].join('');
  t.is(countOpen(head + text, [25]), 2);
  t.is(countOpen(head + text, [25, 2525]), 3);
  t.is(countOpen(head + text, []), 0);
  t.is(openConnections(folder(t), [25]), 0);
});

test('of a project the container that visitors reach has a slice of its own, and is frozen and thawed with the others', (t) => {
  const root = folder(t);
  const app = `${root}/site.slice/site-a.example.com.slice/site-a.example.com-app.slice`;
  const entry = `${app}/site-a.example.com-app-entry.slice`;
  const frozen = { 'cgroup.freeze': '1' };
  group(app, frozen);
  group(entry, frozen);
  group(`${entry}/${scope}`, { ...frozen, frozen: true, 'cgroup.procs': '7\n' });
  group(`${app}/docker-${'1'.repeat(64)}.scope`, { ...frozen, 'cgroup.procs': '8\n' });
  t.is(runState(app), 'frozen');
  t.is(containerPid(app), '7');
  thawNow({ appCgroup: app });
  for (const file of [app, entry, `${entry}/${scope}`]) t.is(readFileSync(`${file}/cgroup.freeze`, 'utf8'), '0', file);
});
