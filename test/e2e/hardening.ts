import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { guestTest } from './_guest.ts';

const units = path.resolve(import.meta.dirname, '../../units');

/** What systemd's own rating goes from 0 to 10; beyond this a unit has to say what it needs. */
const most = 4.0;

guestTest('each service of ours is confined, or its unit says which need speaks against it', async (t, guest) => {
  const services = (await readdir(units)).filter((name) => name.endsWith('.service')).sort();
  t.true(services.length > 20);
  for (const name of services) {
    const text = await guest.sh(`systemd-analyze security --no-pager '${name.replace('@.', '@example.com.')}'`);
    const [, level = 'none'] = /Overall exposure level for \S+: ([\d.]+)/.exec(text) ?? [];
    const reason = /^# Not confined further: (.{20,})$/m.exec(await readFile(path.join(units, name), 'utf8'))?.[1];
    t.log(`${level} ${name}${reason === undefined ? '' : `: ${reason}`}`);
    if (reason === undefined) t.true(Number(level) <= most, `${name} is exposed: ${level}\n${text.split('\n').filter((line) => line.startsWith('✗')).join('\n')}`);
    else t.true(Number(level) > most, `${name} gives a reason, and is confined`);
  }
});

guestTest('no unit of ours has failed, nor was refused a system call by its own confinement', async (t, guest) => {
  const address = await guest.site('confined.example.com');
  t.is((await guest.get(address)).status, 200);
  for (const unit of ['sitegen-certs', 'sitegen-renew', 'sitegen-idle', 'sitegen-network', 'sitegen-stats', 'sitegen-certs@confined.example.com']) {
    const { code, stderr } = await guest.run(['systemctl', 'restart', `${unit}.service`]);
    t.is(code, 0, `${unit}: ${stderr}\n${await guest.sh(`journalctl -u '${unit}.service' -n 20 --no-pager`)}`);
  }
  t.is((await guest.get(address)).status, 200);
  t.is(await guest.sh("systemctl list-units --failed --plain --no-legend 'sitegen*'"), '');
});
