import test from 'ava';
import { backupOf } from './_backup.ts';
import { guestName, guestTest, longTest, until } from './_guest.ts';
import { commit, commitAlone, domain, fails, far, farHost, farUrl, git, headOf, held, hostKeyOf, local, nearUrl, push, pushNow, retry, thief, useBoth, useServers, withServers } from './_servers.ts';

withServers(test);

guestTest('both servers get each commit, in repositories made by the first push, and the site can be pushed again with nothing to do', async (t, guest) => {
  const first = await commit(guest, 'echo one >index.html');
  t.is((await pushNow(guest)).code, 0);
  for (const machine of [guest, far]) t.is(await headOf(machine), first);
  t.is((await backupOf(guest, domain, true)).state, 'well');
  const { log } = await pushNow(guest);
  t.regex(log, new RegExp(`${farUrl()}: has ${first.slice(0, 10)}`));
  t.is(await far.sh(`stat -c '%U %a' /var/lib/sitegen-buddy/web ${held}; git -c safe.directory='*' -C ${held} symbolic-ref HEAD`), 'sitegen-buddy 700\nsitegen-buddy 700\nrefs/heads/main');
  const list = (await far.sitegen('buddy', 'list')).stdout;
  t.regex(list, /^web +1 site +\S+ +500\.0M/m);
  t.regex(list, new RegExp(`${domain} .*\\d{4}-\\d\\d-\\d\\dT.* not yet`));
  t.regex(list, /^web: SHA256:\S+ sitegen@/m);
  t.is(await guest.sh(`systemctl is-active ${retry} || true; stat -c %a /etc/sitegen/keys/server`), 'inactive\n600');
});

guestTest('a commit that comes while a push is about to end is pushed, too', async (t, guest) => {
  // Makes the repositories, which are asked below.
  await commit(guest, 'echo none >index.html');
  t.is((await pushNow(guest)).code, 0);
  // Between its last look and its end, which takes long here.
  await guest.sh(`mkdir -p /run/systemd/system/${push}.d; printf '[Service]\\nExecStartPost=/bin/sleep 8\\n' >/run/systemd/system/${push}.d/slow.conf; systemctl daemon-reload`);
  try {
    const first = await commit(guest, 'echo one >index.html');
    await until('the first is there', async () => await headOf(guest) === first && await headOf(far) === first, 30_000);
    t.is(await guest.sh(`systemctl show -P ActiveState ${push}`), 'activating', 'it has not ended');
    const second = await commit(guest, 'echo two >index.html');
    t.is(await guest.sh(`systemctl show -P ActiveState ${push}`), 'activating');
    await until('the second is there', async () => await headOf(guest) === second && await headOf(far) === second, 30_000);
    await until('it has ended for good', async () => await guest.sh(`systemctl show -P ActiveState ${push}; ls /run/sitegen/sites/${domain}.pushed 2>/dev/null || true`) === 'inactive', 20_000, 500);
  } finally {
    await guest.sh(`rm -r /run/systemd/system/${push}.d; systemctl daemon-reload`);
  }
});

longTest('a server that refuses, is silent, or hangs after the login keeps the other from nothing, and gets it when it is back, with nothing new to commit', async (t, guest) => {
  const first = await commit(guest, 'echo one >index.html');
  await pushNow(guest);
  const hostKey = await hostKeyOf(guest);
  await far.sh('systemctl stop ssh');
  // Takes logins and then does nothing, for ever.
  await guest.sh(`mkdir -p /run/sshd; systemd-run --quiet --collect --unit test-sshd-hang /usr/sbin/sshd -D -e -f /dev/null -p 2209 -h /etc/ssh/ssh_host_ed25519_key -o ForceCommand='sleep 1000' -o UsePAM=no -o PidFile=none -o AuthorizedKeysFile=/var/lib/sitegen-buddy/.ssh/authorized_keys`);
  const timed = async (setting: () => Promise<unknown>, text: string) => {
    await guest.sh(`systemctl stop ${push}; systemctl stop ${retry}`);
    await setting();
    const commitNow = await commitAlone(guest, `echo ${Math.random()} >index.html`);
    const began = Date.now();
    const { code, log } = await pushNow(guest);
    t.log(`${text}: ${((Date.now() - began) / 1000).toFixed(1)} s: ${log.split('\n').find((line) => line.includes('cannot')) ?? log}`);
    t.is(code, 1, text);
    t.is(await headOf(guest), commitNow, text);
    return { seconds: (Date.now() - began) / 1000, log };
  };
  const refused = await timed(() => Promise.resolve(), 'refuses');
  t.regex(refused.log, /Connection refused/);
  t.true(refused.seconds < 25, `${refused.seconds} s`);
  const silent = await timed(() => guest.sh(`nft add table inet test; nft 'add chain inet test out { type filter hook output priority 0; }'; nft add rule inet test out ip daddr ${farHost()} drop`), 'silent');
  t.regex(silent.log, /timed out/);
  t.true(silent.seconds < 40, `${silent.seconds} s`);
  await guest.sh('nft delete table inet test');
  const hanging = await timed(() => useServers(guest, { url: 'ssh://sitegen-buddy@127.0.0.1:2209', hostKey }, { url: nearUrl, hostKey }), 'hangs');
  t.true(hanging.seconds > 25 && hanging.seconds < 120, `${hanging.seconds} s`);
  await until('nothing of it goes on', async () => await guest.sh('pgrep -c -x ssh || true') === '0', 10_000, 500);
  t.regex((await guest.sitegen('alarms')).stdout, new RegExp(`sitegen-push@${domain}`));
  t.is(await headOf(far), first);
  await useBoth(guest);
  await far.sh('systemctl start ssh');
  const last = await headOf(guest, local);
  await until('it is tried again by itself', async () => await headOf(far) === last, 120_000, 1000);
  await until('the alarm is closed', async () => !(await guest.sitegen('alarms')).stdout.includes(`sitegen-push@${domain}`), 20_000, 500);
  await until('no further try is planned', async () => await guest.sh(`systemctl is-active ${retry} || true`) === 'inactive', 20_000, 500);
});

guestTest('another host key is refused, and so is a login that nobody has allowed', async (t, guest) => {
  await guest.sh('rm -f /root/other*; ssh-keygen -q -t ed25519 -N "" -f /root/other');
  const other = await guest.sh('cut -d" " -f1,2 /root/other.pub');
  const rsa = await far.sh('cut -d" " -f1,2 /etc/ssh/ssh_host_rsa_key.pub');
  await useServers(guest, { url: farUrl(), hostKey: other }, { url: nearUrl, hostKey: await hostKeyOf(guest) });
  const first = await commit(guest, 'echo one >index.html');
  const { code, log } = await pushNow(guest);
  t.is(code, 1);
  t.regex(log, new RegExp(`${farUrl()}: cannot ask .*Host key verification failed.*; its host key is not the one in backup\\.servers`, 's'));
  t.is(await far.sh('ls /var/lib/sitegen-buddy/web'), '');
  t.is(await headOf(guest), first);
  // Of each type that a server may have.
  await useServers(guest, { url: farUrl(), hostKey: rsa }, { url: nearUrl, hostKey: await hostKeyOf(guest) });
  t.is((await pushNow(guest)).code, 0);
  await far.sh('sitegen buddy revoke web 2>/dev/null');
  await commitAlone(guest, 'echo two >index.html');
  t.regex((await pushNow(guest)).log, /Permission denied \(publickey[a-z,-]*\).*; has its admin let this server in\?/s);
  t.is(await headOf(far), first);
  t.regex((await far.sitegen('buddy', 'list')).stdout, /^web +1 site .*no key/m);
});

guestTest('kill -9 of either side in a push moves no branch and leaves nothing behind, and the next push is as ever', async (t, guest) => {
  await useServers(guest, { url: farUrl(), hostKey: await hostKeyOf(far) });
  const first = await commit(guest, 'echo one >index.html');
  await pushNow(guest);
  // Slow enough to be met in the middle.
  await guest.sh('tc qdisc add dev host0 root tbf rate 40mbit burst 64kb latency 100ms 2>/dev/null || true');
  try {
    const big = await commitAlone(guest, 'head -c 40000000 /dev/urandom >big.bin');
    const incoming = () => far.sh(`find ${held}/objects -maxdepth 1 -name '*incoming-*' | wc -l`);
    for (const [side, kill] of [['sender', async () => guest.sh('pids=$(pgrep -x git); kill -9 $pids')], ['receiver', async () => far.sh('for pid in $(pgrep -u sitegen-buddy); do kill -9 $pid || true; done')]] as const) {
      // What an earlier kill has left must not be taken for objects that are coming.
      await far.sh(`rm -rf ${held}/objects/*incoming-*`);
      const pushing = pushNow(guest);
      await until(`${side}: objects are coming`, async () => await incoming() !== '0', 20_000);
      await kill();
      t.is((await pushing).code, 1, side);
      t.is(await headOf(far), first, side);
      await guest.sh(`systemctl stop ${retry}`);
    }
    t.not(await incoming(), '0', 'this is what a kill leaves');
    await guest.sh('tc qdisc del dev host0 root 2>/dev/null || true');
    const { code, log } = await pushNow(guest);
    t.is(code, 0, log);
    t.is(await headOf(far), big);
    t.is(await incoming(), '0');
    await git(far, held, 'fsck --full --strict');
  } finally {
    await guest.sh('tc qdisc del dev host0 root 2>/dev/null || true');
  }
});

longTest('a full quota and a full disk are said, harm no history, and raise an alarm; with room it goes on by itself', async (t, guest) => {
  const first = await commit(guest, 'echo one >index.html');
  await pushNow(guest);
  await far.sh('sitegen buddy allow -q web --quota 6M >/dev/null');
  const second = await commitAlone(guest, 'head -c 8000000 /dev/urandom >big.bin');
  const quota = await pushNow(guest);
  t.is(quota.code, 1);
  t.regex(quota.log, new RegExp(`${farUrl()}: cannot push .*pack exceeds maximum allowed size`));
  t.is(await headOf(guest), second, 'the other one has it');
  t.is(await headOf(far), first);
  await far.sh('head -c 7000000 /dev/urandom >/var/lib/sitegen-buddy/web/ballast');
  t.regex((await pushNow(guest)).log, /the quota of web is used up: 6\.\dM of 6\.0M/);
  await far.sh('rm /var/lib/sitegen-buddy/web/ballast; sitegen buddy allow -q web --quota 100M >/dev/null');
  await until('it is pushed by itself', async () => await headOf(far) === second, 60_000, 1000);

  // The disk: what is to stay free is not touched, and a file system without a single inode left fails in the middle.
  await guest.sh(`systemctl stop ${push}; systemctl stop ${retry}; mv /var/lib/sitegen-buddy/web /var/lib/sitegen-buddy/old; mkdir /var/lib/sitegen-buddy/web
    mount -t tmpfs -o size=40M,mode=700,uid=$(id -u sitegen-buddy),gid=$(id -g sitegen-buddy) none /var/lib/sitegen-buddy/web; cp -a /var/lib/sitegen-buddy/old/. /var/lib/sitegen-buddy/web/; head -c $(($(df --output=avail -B1 /var/lib/sitegen-buddy/web | tail -1) - 1000000)) /dev/zero >/var/lib/sitegen-buddy/web/ballast`);
  await commitAlone(guest, 'echo three >index.html');
  const full = await pushNow(guest);
  t.regex(full.log, new RegExp(`${nearUrl}: cannot push .*the disk is full but for .*, which stay free`));
  t.is(await headOf(guest), second);
  await guest.sh(`systemctl stop ${retry}; rm /var/lib/sitegen-buddy/web/ballast; mount -o remount,size=40M,nr_inodes=$(($(df --output=iused /var/lib/sitegen-buddy/web | tail -1) + 2)) /var/lib/sitegen-buddy/web`);
  const inodes = await pushNow(guest);
  t.is(inodes.code, 1);
  t.regex(inodes.log, /No space left on device|unable to/);
  t.is(await headOf(guest), second);
  await git(guest, held, 'fsck --full --strict');
  t.regex((await guest.sitegen('alarms')).stdout, new RegExp(`sitegen-push@${domain}`));
  await guest.sh('mount -o remount,size=40M,nr_inodes=10000 /var/lib/sitegen-buddy/web');
  const last = await headOf(guest, local);
  await until('it is pushed by itself', async () => await headOf(guest) === last && await headOf(far) === last, 90_000, 1000);
});

guestTest('a history that differs stays, ours goes beside it, and the other server has it', async (t, guest) => {
  await commit(guest, 'echo one >index.html');
  await pushNow(guest);
  await guest.sh(`${thief(farHost())}; git push -q $U $(git commit-tree -p main -m other main^{tree}):refs/heads/main`);
  const other = await headOf(far);
  const ours = await commitAlone(guest, 'echo two >index.html');
  const { code, log } = await pushNow(guest);
  t.is(code, 1);
  t.regex(log, /signed by nobody whom this server trusts/);
  t.is(await headOf(far), other);
  t.is(await headOf(guest), ours);
  const recover = await git(far, held, 'for-each-ref --format="%(refname) %(objectname)" refs/heads/recover');
  t.regex(recover, new RegExp(`^refs/heads/recover/${guestName}-\\d{4}-\\d\\d-\\d\\dT\\d\\d-\\d\\d-\\d\\d-\\d{3}Z ${ours}$`));
  await pushNow(guest);
  t.is(await git(far, held, 'for-each-ref --format="%(refname) %(objectname)" refs/heads/recover'), recover, 'once');
  t.regex((await guest.sitegen('alarms')).stdout, new RegExp(`sitegen-push@${domain}`));
});

longTest('a machine has four pushes going on at once, and those that wait take next to nothing', async (t, guest) => {
  const first = await commitAlone(guest, 'echo one >index.html');
  await guest.sh('mkdir -p /run/sitegen; for slot in 0 1 2 3; do systemd-run --quiet --collect --unit test-sshd-slot-$slot flock /run/sitegen/push-$slot.lock sleep 1000; done; sleep 0.5');
  await guest.sh(`systemctl start --no-block ${push}; sleep 2`);
  t.is(await guest.sh(`systemctl is-active ${push} || true; ps -o comm= -p $(cat /sys/fs/cgroup$(systemctl show -P ControlGroup ${push})/cgroup.procs)`), 'activating\nflock');
  await guest.sh("systemctl stop 'test-sshd-*'");
  await until('it is over', async () => (await guest.run(['systemctl', 'is-active', push])).stdout.trim() === 'inactive', 60_000, 500);
  for (const machine of [guest, far]) t.is(await headOf(machine), first);
});

longTest('nightly, repositories are packed one after the other and keep what servers have', async (t, guest) => {
  for (const text of ['one', 'two', 'three']) await commit(guest, `head -c 50000 /dev/urandom >${text}.bin; echo ${text} >index.html`);
  await pushNow(guest);
  await guest.sh('systemctl start sitegen-repack.service');
  t.is(await guest.sh(`systemctl show -P Result sitegen-repack.service`), 'success');
  // One with all that counts, and one with what no branch has.
  t.true(Number(await guest.sh(`ls ${local}/objects/pack/*.pack | wc -l`)) <= 2);
  const last = await commit(guest, 'echo four >index.html');
  t.is((await pushNow(guest)).code, 0);
  for (const machine of [guest, far]) t.is(await headOf(machine), last);
});

longTest('an empty repository is an alarm once the server has had one, and is filled again only when somebody says so', async (t, guest) => {
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

guestTest('a server whose site another one has taken over stops serving it, and what it wrote since then goes aside', async (t, guest) => {
  await commit(guest, 'echo one >index.html');
  await pushNow(guest);
  await guest.sh(`rm -rf /root/web2* /root/taken; ssh-keygen -q -t ed25519 -N '' -f /root/web2; ${thief(farHost())}
    git -c safe.directory='*' clone -q ${local} /root/taken; cd /root/taken; unset GIT_DIR
    sed -i 's/"epoch": 1/"epoch": 2/; s/"server": ".*"/"server": "web2"/; s/"address": ".*"/"address": "web2.example.com"/; s|"key": "[^"]*"|"key": "'$(ssh-keygen -lf /root/web2.pub | cut -d' ' -f2)'"|' meta/epoch.json
    git -c gpg.format=ssh -c user.signingKey=/root/web2 commit -q -S -a -m taken; git push -q $U HEAD:refs/heads/main`);
  const theirs = await headOf(far);
  // Whoever can write to the server could say so: unless this server trusts the key, nothing is believed.
  t.regex((await pushNow(guest)).log, /signed by nobody whom this server trusts/);
  t.is(await guest.sh(`ls /var/lib/sitegen/backup/${domain}.fence 2>/dev/null || echo none`), 'none');
  await guest.sh(`echo "  signers: ['$(cut -d' ' -f1,2 /root/web2.pub)']" >>/etc/sitegen/sitegen.yaml`);
  const late = await commitAlone(guest, 'echo late >late.html');
  const { code, log } = await pushNow(guest);
  t.is(code, 0, log);
  t.regex(log, /web2 has the site now/);
  t.is(await headOf(far), theirs);
  t.is(await git(far, held, 'for-each-ref --format="%(objectname)" refs/heads/recover'), late);
  t.regex(await guest.sh(`cat /var/lib/sitegen/backup/${domain}.fence`), /"server": "web2"/);
  await until('visitors are passed on', async () => (await guest.sitegen('status', domain)).stdout.includes('passthrough'), 20_000, 500);
  await guest.sitegen('remove', '--purge', '--yes', domain);
});
