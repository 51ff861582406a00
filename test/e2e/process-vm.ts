import { guestTest, until } from './_guest.ts';
import { ask, withProcess } from './_process.ts';

guestTest('a program that takes more memory than its site may have is killed, said so, and woken again', async (t, guest) => {
  const domain = 'eater.example.com';
  await withProcess(guest, domain, 'limits: {memoryMax: 150M}\n', async (address) => {
    await ask(guest, address, '/');
    t.not((await guest.get(address, { path: '/eat', timeoutS: 60 })).status, 200);
    await until('its end is seen', async () => (await guest.run(['systemctl', 'is-active', '--quiet', `site-${domain}`])).code !== 0, 15_000);
    t.regex((await guest.status(domain)).reason ?? '', /killed for using more memory than its limit/);
    t.regex(await ask(guest, address, '/'), /^here /);
  });
});
