import { guestTest, long } from './_guest.ts';
import { ensureServerImage, load, serverImage, type LoadSummary } from './_server.ts';

const rounds = long ? 200 : 3;

for (const graceful of ['1', '0']) {
  guestTest(`no request is lost in ${rounds} stops under 100 requests a second, with an app that ends ${graceful === '1' ? 'gracefully' : 'at once'}`, async (t, guest) => {
    await ensureServerImage(guest);
    const domain = `load-${graceful}.example.com`;
    const address = await guest.site(domain, '--image', serverImage, '--volume', 'data:/data', '--env', `GRACEFUL=${graceful}`);
    const since = await guest.sh('date +%s');
    let running = true;
    const stops = (async () => {
      let done = 0;
      for (let round = 0; round < rounds; round++) {
        await guest.sh(`systemctl start site-${domain}; sleep 0.7; systemctl --quiet stop site-${domain}`);
        done += 1;
      }
      running = false;
      return done;
    })();
    const seconds = long ? 60 : rounds * 4;
    const parts: LoadSummary[] = [];
    do parts.push(await load(guest, address, 100, seconds)); while (running);
    t.is(await stops, rounds);

    const sum = (pick: (part: LoadSummary) => number) => parts.reduce((total, part) => total + pick(part), 0);
    t.log(`${sum((part) => part.sent)} requests, ${sum((part) => part.retried)} sent again on a new connection, slowest ${Math.max(...parts.map((part) => part.slowest))} ms`);
    t.deepEqual(parts.flatMap((part) => part.lost), []);
    t.is(sum((part) => part.answered), sum((part) => part.sent));
    const applied = (await guest.sh(`cat /var/lib/sitegen/sites/${domain}/data/data/applied`)).split('\n').map(Number).sort((a, b) => a - b);
    t.deepEqual(applied, parts.flatMap((part) => part.posts).sort((a, b) => a - b), 'every POST took effect exactly once');
    const journal = await guest.sh(`journalctl -u site-${domain} -o cat --no-pager --since @${since}`);
    t.false(journal.includes('are cut'), 'every stop waited for all requests in flight');
  });
}

guestTest('no request is lost while a stop waits for a long dump of what came late', async (t, guest) => {
  await ensureServerImage(guest);
  const domain = 'load-dump.example.com';
  const address = await guest.site(domain, '--image', serverImage, '--volume', 'data:/data', '--env', 'GRACEFUL=0');
  await guest.sh(`echo "dump: {command: [$(readlink -f "$(command -v node)"), -e, \\"setTimeout(() => console.log('all of it'), 5000)\\"]}" >>/etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet; systemctl start site-${domain}`);
  const stop = guest.sh(`sleep 2; systemctl --quiet stop site-${domain}`);
  const { lost, answered, sent, posts, slowest, retried } = await load(guest, address, 50, 25);
  await stop;
  t.log(`${sent} requests, ${retried} sent again on a new connection, slowest ${slowest} ms`);
  t.deepEqual(lost, []);
  t.is(answered, sent);
  const applied = (await guest.sh(`cat /var/lib/sitegen/sites/${domain}/data/data/applied`)).split('\n').map(Number).sort((a, b) => a - b);
  t.deepEqual(applied, posts.sort((a, b) => a - b), 'every POST took effect exactly once');
  t.true(slowest > 5000, 'visitors were held during the second dump');
});
