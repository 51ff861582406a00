import { guestTest } from './_guest.ts';

guestTest('a site that is removed and added again has its new settings, whatever systemd remembers', async (t, guest) => {
  const domain = 'again.example.com';
  const limit = () => guest.sh(`systemctl show -P MemoryMax site-${domain}.slice`);
  t.is((await guest.get(await guest.site(domain, '--memory', '64M'))).status, 200);
  t.is(await limit(), String(64 * 1024 * 1024));
  // As a boot does: sockets.target knows the socket from now on, and keeps it loaded.
  await guest.sh('systemctl daemon-reload');
  t.is((await guest.sitegen('remove', '--purge', '--backups', '--yes', domain)).code, 0);
  t.not(await guest.sh(`systemctl list-units --all --no-legend site-${domain}.socket`), '', 'systemd remembers it');
  t.is((await guest.get(await guest.site(domain, '--memory', '96M'))).status, 200);
  t.is(await limit(), String(96 * 1024 * 1024));
});
