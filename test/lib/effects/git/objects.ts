import fs from 'node:fs/promises';
import test from 'ava';
import { headOf, isAncestor, log, openObjects, treeOf } from '../../../../lib/effects/git/objects.ts';
import { SitegenError } from '../../../../lib/pure/errors.ts';
import { testSite } from '../../_data.ts';

test('many objects are read one after the other from one process, small and large ones', async (t) => {
  const site = await testSite(t);
  await fs.writeFile(`${site.data}/large`, Buffer.alloc(5_000_000, 'seed'));
  for (let n = 0; n < 30; n += 1) await fs.writeFile(`${site.data}/${n}`, 'x'.repeat(n));
  const { commit } = await site.commit();
  const objects = openObjects(site.repository);
  try {
    for await (const { path, id } of treeOf(site.repository, commit)) {
      let size = 0;
      for await (const part of objects.stream(id)) size += part.length;
      if (path === 'data/large') t.is(size, 5_000_000);
      else if (path.startsWith('data/')) t.is(size, Number(path.slice(5)));
    }
    t.is(await objects.read('0'.repeat(40), 10), undefined);
    t.is((await objects.read(commit, 10_000))?.type, 'commit');
    await t.throwsAsync(objects.read((await site.git('rev-parse', 'main:data/large')).trim(), 100), { instanceOf: SitegenError });
  } finally {
    objects.close();
  }
});

test('the log tells time, words and size of each commit, the latest first', async (t) => {
  const site = await testSite(t);
  await fs.writeFile(`${site.data}/a`, 'a');
  await site.commit({ date: new Date('2026-01-02T03:04:05Z'), message: 'x.example.com: first, with "quotes" and é' });
  await fs.writeFile(`${site.data}/b`, Buffer.from(Array.from({ length: 50_000 }, (_, n) => (n * 7919 + n * n) % 251)));
  const { commit } = await site.commit({ date: new Date('2026-01-02T04:04:05Z') });
  const entries = await log(site.repository, 'refs/heads/main', 10);
  t.like(entries[0], { commit, date: new Date('2026-01-02T04:04:05Z'), subject: 'x.example.com: backup' });
  t.like(entries[1], { date: new Date('2026-01-02T03:04:05Z'), subject: 'x.example.com: first, with "quotes" and é' });
  t.true((entries[0]?.bytes ?? 0) > 100 && (entries[1]?.bytes ?? 0) > 50);
  t.is((await log(site.repository, 'refs/heads/main', 1)).length, 1);
  t.deepEqual(await log(site.repository, 'refs/heads/none', 10), []);
});

test('who comes before whom is asked of the history', async (t) => {
  const site = await testSite(t);
  t.is(await headOf(`${site.root}/nowhere`), undefined);
  await fs.writeFile(`${site.data}/a`, 'a');
  const { commit: first } = await site.commit();
  await fs.writeFile(`${site.data}/a`, 'b');
  const { commit: second } = await site.commit();
  t.is(await headOf(site.repository), second);
  t.is(await headOf(site.repository, 'main~1'), first);
  t.is(await headOf(site.repository, 'refs/heads/none'), undefined);
  t.true(await isAncestor(site.repository, first, second));
  t.true(await isAncestor(site.repository, second, second));
  t.false(await isAncestor(site.repository, second, first));
  t.false(await isAncestor(site.repository, '1'.repeat(40), first));
});
