import { guestTest, type Guest } from './_guest.ts';

const settings = '/etc/sitegen/sitegen.yaml';
const installed = `cp /usr/src/sitegen/templates/sitegen.yaml ${settings}; chmod 600 ${settings}`;
/** Types lines on a terminal. */
const typed = (guest: Guest, lines: readonly string[]) => guest.run(['bash', '-c', `{ sleep 2; ${lines.map((line) => `printf '%s\\n' '${line}'; sleep 1`).join('; ')}; } | script -qec 'sitegen init --no-color' /dev/null`]);

guestTest('init asks, writes what was answered, shows it, and keeps the comments', async (t, guest) => {
  try {
    await guest.sh(`${installed}; systemctl start ssh`);
    const key = await guest.sh('cut -d" " -f1,2 /etc/ssh/ssh_host_ed25519_key.pub');
    const { stdout, code } = await typed(guest, ['nobody', 'admin@example.com', 'ssh://b@127.0.0.1/x', 'yes', '', '50%']);
    t.is(code, 0, stdout);
    t.regex(stdout, /is not an e-mail address/);
    t.regex(stdout, /SHA256:\S+ the host key of 127\.0\.0\.1/);
    t.regex(stdout, /\+ +email: admin@example\.com/);
    const text = await guest.sh(`cat ${settings}`);
    for (const line of ['email: admin@example.com', 'url: ssh://b@127.0.0.1/x', `hostKey: ${key}`, 'memory: 50%', '# Where certificates come from.']) t.true(text.includes(line), line);
    t.is(await guest.sh(`stat -c %a ${settings}`), '600');
    t.is((await guest.sitegen('validate')).code, 0);

    // What holds is offered, and stays.
    t.regex((await typed(guest, ['', '', '', ''])).stdout, /\[admin@example\.com\][^]*\[ssh:\/\/b@127\.0\.0\.1\/x\][^]*\[50%\][^]*stays as it is/);
    t.is(await guest.sh(`cat ${settings}`), text);
  } finally {
    await guest.sh(installed);
  }
});

guestTest('without a terminal init wants --yes, and takes the rest from options', async (t, guest) => {
  try {
    await guest.sh(`${installed}; systemctl start ssh`);
    const before = await guest.sh(`cat ${settings}`);
    const refused = await guest.sitegen('init');
    t.is(refused.code, 2);
    t.regex(refused.stderr, /no terminal to ask on\nsitegen: hint: .*--yes --email ADDRESS --backup-server URL/);
    t.is((await guest.sitegen('init', '--yes')).code, 0, 'the defaults hold');
    t.is((await guest.sitegen('init', '--yes', '--email', 'nobody')).code, 1);
    const unknown = await guest.sitegen('init', '--yes', '--backup-server', 'ssh://b@127.0.0.1/x');
    t.is(unknown.code, 1);
    t.regex(unknown.stderr, /nobody has confirmed its host key\nsitegen: hint: if SHA256:/);
    t.is(await guest.sh(`cat ${settings}`), before, 'nothing half-done');
    const key = await guest.sh('cut -d" " -f1,2 /etc/ssh/ssh_host_ed25519_key.pub');
    const done = await guest.sitegen('init', '--yes', '--email', 'a@example.com', '--backup-server', `ssh://b@one.example ${key}`, '--backup-server', `ssh://b@two.example ${key}`, '--memory-share', '2G');
    t.is(done.code, 0, done.stderr);
    for (const line of ['email: a@example.com', 'ssh://b@one.example', 'ssh://b@two.example', 'memory: 2G']) t.true(done.stdout.includes(line), line);
  } finally {
    await guest.sh(installed);
  }
});
