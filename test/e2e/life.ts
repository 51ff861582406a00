import { guestTest } from './_guest.ts';

guestTest('a site is added, woken cold, answers warm, is stopped and woken again', async (t, guest) => {
  const since = await guest.sh('date +%s');
  const address = await guest.site('life.example.com');
  t.is((await guest.status('life.example.com')).state, 'asleep');
  const cold = await guest.get(address);
  t.is(cold.status, 200);
  t.regex(cold.body, /This site works/);
  t.is((await guest.status('life.example.com')).state, 'awake');
  const warm = await guest.get(address);
  t.is(warm.status, 200);
  t.true(warm.seconds < cold.seconds);

  t.is((await guest.sitegen('stop', 'life.example.com')).code, 0);
  const asleep = await guest.status('life.example.com');
  t.is(asleep.state, 'asleep');
  t.is(asleep.container.status, 'exited');
  t.is((await guest.get(address)).status, 200);
  const journal = await guest.sh(`journalctl -u site-life.example.com --no-pager -o cat --since @${since}`);
  t.is(journal.match(/awake: woken by a visitor, was asleep; wait \d+ ms, create \d+ ms, start \d+ ms, ready \d+ ms, total \d+ ms/g)?.length, 2);
});
