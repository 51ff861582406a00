import test from 'ava';
import { guestTest, until } from './_guest.ts';
import { commit, domain, fails, far, farHost, git, headOf, held, local, pushNow, thief, withServers } from './_servers.ts';

withServers(test);

guestTest('an empty repository is an alarm once the server has had one, and is filled again only when somebody says so', async (t, guest) => {
  const first = await commit(guest, 'echo one >index.html');
  await pushNow(guest);
  t.is((await far.sitegen('buddy', 'erase', '--yes', 'web', domain)).code, 0);
  t.is((await far.sitegen('buddy', 'erase', '--yes', 'web', domain)).code, 1);
  const { code, log } = await pushNow(guest);
  t.is(code, 1);
  t.regex(log, new RegExp(`it has lost this backup: its repository is empty or gone; ask its admin; if that was on purpose: sitegen backup refill ${domain}`));
  t.is(await far.sh('ls /var/lib/sitegen-buddy/web'), '', 'what was erased stays erased');
  // What is written down of it can get lost, too.
  await guest.sh(`rm /var/lib/sitegen/backup/${domain}.json`);
  t.is((await pushNow(guest)).code, 1);
  await far.sh(`su -s /bin/sh sitegen-buddy -c 'git init -q --bare -b main ${held}'`);
  t.is((await pushNow(guest)).code, 1);
  t.is((await guest.sitegen('backup', 'refill', domain)).code, 0);
  t.is(await headOf(far), first);
});

guestTest('a file emptied in a server\'s repository is found by its weekly look, which both sides hear of', async (t, guest) => {
  const first = await commit(guest, 'head -c 300000 /dev/urandom >picture.jpg');
  await pushNow(guest);
  await far.sh('systemctl start sitegen-buddy.service');
  t.regex((await far.sitegen('buddy', 'list')).stdout, new RegExp(`${domain} .*T\\d\\d:\\d\\d:\\d\\d.*T\\d\\d:\\d\\d:\\d\\d`));
  t.is(await far.sh(`systemctl show -P Result sitegen-buddy.service; stat -c %U ${held}/sitegen.json`), 'success\nsitegen-buddy');
  await far.sh(`for pack in ${held}/objects/pack/*.pack; do truncate -s 0 $pack; done`);
  t.is((await pushNow(guest)).code, 0, 'the branch is what it should be');
  t.regex((await far.sitegen('buddy', 'check')).stderr, new RegExp(`web: ${domain}: damaged: `));
  await far.sh('systemctl start sitegen-buddy.service || true');
  await until('there is an alarm', async () => (await far.sitegen('alarms')).stdout.includes('sitegen-buddy.service'), 20_000, 500);
  t.regex((await far.sitegen('buddy', 'list')).stdout, new RegExp(`${domain} .*damaged: `));
  const { code, log } = await pushNow(guest);
  t.is(code, 1);
  t.regex(log, /this repository is damaged, as found on \d{4}/);
  await far.sh(`sitegen buddy erase --yes web ${domain} 2>/dev/null`);
  t.is((await guest.sitegen('backup', 'refill', domain)).code, 0);
  t.is(await headOf(far), first);
  t.is(await far.sh('systemctl start sitegen-buddy.service; sleep 1; sitegen alarms 2>&1'), 'no open alarms');
});

guestTest('whoever has stolen a server\'s key can neither take a commit away, nor get a shell, a port, a file or what is others\'', async (t, guest) => {
  await commit(guest, 'echo one >index.html');
  const last = await commit(guest, 'echo two >index.html');
  await pushNow(guest);
  await far.sh('rm -f /root/bert*; ssh-keygen -q -t ed25519 -N "" -f /root/bert; sitegen buddy allow -q bert --key /root/bert.pub >/dev/null; install -d -o sitegen-buddy /var/lib/sitegen-buddy/bert; su -s /bin/sh sitegen-buddy -c "git init -q --bare -b main /var/lib/sitegen-buddy/bert/secret.example.git"');
  const key = (await guest.sitegen('backup', 'key')).stdout.trim();
  t.regex((await far.run(['sitegen', 'buddy', 'allow', 'bert', '--key', key])).stderr, /this key is web's already/);
  const start = thief(farHost());
  for (const [what, pattern] of [
    ['git push -f $U main~1:refs/heads/main', /only goes forward/],
    ['git push -f $U $(git commit-tree -m rootless main^{tree}):refs/heads/main', /only goes forward/],
    ['git push $U :refs/heads/main', /not deleted here|deletion prohibited|denying ref deletion/],
    ['git push $U main:refs/tags/v1', /only "main" and new branches/],
    ['git push $U main:refs/heads/x', /only "main" and new branches/],
    ['git push --mirror $U', /only "main"|not deleted/],
    [`git ls-remote ssh://sitegen-buddy@${farHost()}/bert/secret.example.git`, /only git may push and fetch here/],
    [`git ls-remote ssh://sitegen-buddy@${farHost()}/../bert/secret.example.git`, /only git may push and fetch here/],
    [`git archive --remote=$U main`, /only git may push and fetch here/],
    [`$GIT_SSH_COMMAND sitegen-buddy@${farHost()} id`, /only git may push and fetch here/],
    [`$GIT_SSH_COMMAND sitegen-buddy@${farHost()} "git-upload-pack '/${domain}.git'; id"`, /only git may push and fetch here/],
    [`$GIT_SSH_COMMAND -tt sitegen-buddy@${farHost()} </dev/null`, /only git may push|PTY allocation request failed/],
    [`$GIT_SSH_COMMAND -s sitegen-buddy@${farHost()} sftp </dev/null`, /^$/],
    [`timeout 10 $GIT_SSH_COMMAND -W 127.0.0.1:22 sitegen-buddy@${farHost()} </dev/null`, /administratively prohibited|stdio forwarding failed/],
    [`timeout 10 $GIT_SSH_COMMAND -o ExitOnForwardFailure=yes -N -R 7777:127.0.0.1:22 sitegen-buddy@${farHost()}`, /forwarding failed/],
  ] as const) t.regex(await fails(guest, `${start}; ${what}`), pattern, what);
  t.is(await headOf(far), last);
  t.is(await git(far, held, 'for-each-ref --format="%(refname)"'), 'refs/heads/main');
  t.is(await git(far, held, 'rev-list --count main'), await git(guest, local, 'rev-list --count main'));
  t.is(await far.sh('ls /var/lib/sitegen-buddy/web'), `${domain}.git\n${domain}.git.lock`.replace('.git.lock', '.lock'));
  await git(far, held, 'fsck --full --strict');
});
