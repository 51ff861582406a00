import test from 'ava';
import { guestName, guestTest, openGuest, type Guest } from './_guest.ts';
import { write } from './_machine.ts';
import { ask, load } from './_static.ts';

const domain = 'git.example.com';
const checkout = `/var/lib/sitegen/checkouts/${domain}`;
const root = `${checkout}/current`;
const unit = `sitegen-pull@${domain}.service`;
const work = '/srv/git-test';

/** Commits what a script makes in a working copy, and pushes it to the repository that is pulled. */
async function commit(guest: Guest, script: string, push = 'main'): Promise<string> {
  return guest.sh(`cd ${work}/work; ${script}
    git add --all --force; git commit --quiet --allow-empty -m change; git push --quiet --force origin HEAD:${push}; git rev-parse HEAD`);
}

async function settings(guest: Guest, ...lines: string[]): Promise<void> {
  await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nstatic:\n  git: ${work}/site.git\n${lines.map((line) => `  ${line}\n`).join('')}`);
}

async function pull(guest: Guest): Promise<string> {
  const { code, stdout, stderr } = await guest.sitegen('pull', domain);
  if (code !== 0) throw new Error(stderr);
  return stdout.trim();
}

const shown = async (guest: Guest, path = '/') => (await ask(guest, path, { root })).body.trim();

test.serial.beforeEach(async () => {
  const guest = openGuest(guestName);
  await guest.sh(`systemctl start sitegen-static.socket; rm -rf ${work} ${checkout}; mkdir -p ${work}; cd ${work}
    git init --quiet --bare -b main site.git; git init --quiet -b main work; cd work; git remote add origin ${work}/site.git
    git config user.name test; git config user.email test@example.com`);
  await settings(guest);
  await commit(guest, 'echo 1 >index.html; echo 1 >other.html; mkdir public; echo public >public/index.html');
});

test.serial.afterEach.always(async () => {
  const guest = openGuest(guestName);
  await guest.sh(`systemctl stop '${unit}' || true; systemctl reset-failed 'sitegen-*' || true; rm -rf ${work} ${checkout} /etc/sitegen/sites/${domain}.yaml /var/lib/sitegen/alarms/${unit}.json`);
});

guestTest('a repository is cloned, pulled, and pulled again when there is nothing new', async (t, guest) => {
  const first = await guest.sh(`git -C ${work}/work rev-parse --short=10 HEAD`);
  t.is(await pull(guest), `${domain}: first pull -> ${first}`);
  t.is(await shown(guest), '1');
  t.is(await pull(guest), `${domain}: nothing new, ${first}`);
  const tag = async () => (await ask(guest, '/other.html', { root })).headers['etag'];
  const before = await tag();
  await guest.sh('sleep 1.1');
  const second = await commit(guest, 'echo 2 >index.html; git rm -rq public; mkdir -p new/dir; echo new >new/dir/page.txt; echo x >.htaccess');
  t.is(await pull(guest), `${domain}: ${first} -> ${second.slice(0, 10)}`);
  t.is(await shown(guest), '2');
  t.is(await shown(guest, '/new/dir/page.txt'), 'new');
  t.is((await ask(guest, '/public/', { root })).status, 404);
  t.is((await ask(guest, '/.htaccess', { root })).status, 404);
  t.is(await tag(), before, 'what did not change is not asked for again');
  // Nobody else can read the repository, and only the tree before stays.
  t.is(await guest.sh(`stat -c %a ${checkout}/repository.git; ls ${checkout}/trees | wc -l; umask 077; sitegen pull -q ${domain} >/dev/null; find -L ${root} ! -perm -o+r | wc -l`), '700\n2\n0');
  await commit(guest, 'echo 3 >index.html');
  await pull(guest);
  t.is(await guest.sh(`ls ${checkout}/trees | wc -l; ls -A ${checkout}`), '2\ncurrent\nrepository.git\nsource\ntrees');
  const head = await guest.sh(`git -C ${work}/work rev-parse HEAD`);
  t.deepEqual(JSON.parse((await guest.sitegen('pull', '--all', '--json')).stdout), [{ domain, before: head, after: head }]);
});

guestTest('while it is pulled visitors see whole pages of the one or the other commit, never an older one again', async (t, guest) => {
  const change = (number: number) => commit(guest, `for i in $(seq 300); do echo ${number} >page$i.html; done
    awk 'BEGIN { for (i = 0; i < 200000; i++) print ${number} }' | tee index.html >other.html`);
  await change(1);
  await pull(guest);
  const seen = await load(guest, ['/', '/other.html'], { root, pairs: true, at: 3 }, async () => {
    for (const number of [2, 3, 4, 5]) {
      await change(number);
      await pull(guest);
    }
  });
  t.log(`${seen.requests} requests, the slowest took ${seen.slowestMs} ms`);
  t.deepEqual(seen.failed, []);
  t.is(seen.backwards, 0);
  // The first 20 characters are all of one commit.
  t.deepEqual(Object.keys(seen.answers).filter((answer) => !/^200 (\d)(\n\1)+$/.test(answer)), []);
  t.true(Object.keys(seen.answers).length >= 4);
});

guestTest('a remote that is away keeps the old commit and raises an alarm, which the next success closes', async (t, guest) => {
  await pull(guest);
  await commit(guest, 'echo 2 >index.html');
  await guest.sh(`mv ${work}/site.git ${work}/away.git`);
  const failed = await guest.sitegen('pull', domain);
  t.is(failed.code, 1);
  t.regex(failed.stderr, /sitegen: error: git\.example\.com: cannot pull \/srv\/git-test\/site\.git: .*does not appear to be a git repository/);
  t.is((await guest.sitegen('alarms')).stdout.includes(unit), false, 'whoever types the command sees it');
  await guest.sh('systemctl start sitegen-pull.service; while systemctl is-active -q sitegen-pull.service; do sleep 0.1; done; sleep 1');
  t.is(await guest.sh(`systemctl is-failed '${unit}'; systemctl is-failed sitegen-pull.service || true`), 'failed\ninactive');
  t.regex((await guest.sitegen('alarms')).stdout, /sitegen-pull@git\.example\.com/);
  t.is(await shown(guest), '1');
  await guest.sh(`mv ${work}/away.git ${work}/site.git; systemctl start sitegen-pull.service; while systemctl is-active -q sitegen-pull.service; do sleep 0.1; done`);
  t.is(await shown(guest), '2');
  t.notRegex((await guest.sitegen('alarms')).stdout, /sitegen-pull/);
  t.is(await guest.sh(`systemctl is-active '${unit}'`), 'active');
});

guestTest('a rewritten history, a branch, another repository and what is missing in one', async (t, guest) => {
  await pull(guest);
  await commit(guest, 'git checkout -q --orphan fresh; echo rewritten >index.html; git rm -q --cached other.html; rm other.html');
  await pull(guest);
  t.is(await shown(guest), 'rewritten');
  t.is((await ask(guest, '/other.html', { root })).status, 404);
  await commit(guest, 'git checkout -q -b draft; echo draft >index.html', 'feature/draft');
  await pull(guest);
  t.is(await shown(guest), 'rewritten');
  await settings(guest, 'branch: feature/draft', 'directory: public');
  await pull(guest);
  t.is(await shown(guest), 'draft');
  t.is((await ask(guest, '/', { root: `${root}/public` })).body, 'public\n');
  await settings(guest, 'branch: none');
  const branch = await guest.sitegen('pull', domain);
  t.deepEqual([branch.code, branch.stderr.trim()], [1, `sitegen: error: ${domain}: ${work}/site.git has no branch "none"; set static.branch to one that it has, or leave it out`]);
  await settings(guest, 'branch: feature/draft', 'directory: none');
  t.regex((await guest.sitegen('pull', domain)).stderr, /has no directory "none" in its commit/);
  await commit(guest, 'ln -s /etc outside', 'feature/draft');
  await settings(guest, 'branch: feature/draft', 'directory: outside');
  t.regex((await guest.sitegen('pull', domain)).stderr, /has no directory "outside" in its commit/);
  t.is(await shown(guest), 'draft');
  await guest.sh(`git init --quiet --bare ${work}/empty.git; sed -i 's/site.git/empty.git/; /branch/d' /etc/sitegen/sites/${domain}.yaml`);
  t.regex((await guest.sitegen('pull', domain)).stderr, /empty\.git is empty/);
});

guestTest('nothing of a repository, nor of the machine\'s configuration of git, is executed', async (t, guest) => {
  await pull(guest);
  await guest.sh(`rm -f /tmp/executed*; touch ${work}/restore
    mkdir -p ${work}/hooks ${checkout}/repository.git/hooks
    for hook in post-checkout post-merge reference-transaction post-index-change pre-auto-gc update post-update fsmonitor-watchman; do
      for at in ${work}/hooks ${checkout}/repository.git/hooks; do printf '#!/bin/sh\\ntouch /tmp/executed-hook-%s\\n' $hook >$at/$hook; chmod +x $at/$hook; done
    done
    for file in /etc/gitconfig /root/.gitconfig; do
      printf '[core]\\n hooksPath = ${work}/hooks\\n fsmonitor = touch /tmp/executed-fsmonitor\\n sshCommand = touch /tmp/executed-ssh\\n[filter "evil"]\\n smudge = touch /tmp/executed-smudge\\n clean = touch /tmp/executed-clean\\n required = true\\n[url "ext::touch /tmp/executed-ext "]\\n insteadOf = ${work}\\n[protocol "ext"]\\n allow = always\\n' >$file
    done`);
  try {
    await guest.sh(`export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1; cd ${work}/work
      printf '* filter=evil diff=evil merge=evil\\n' >.gitattributes; ln -s /etc/passwd link; ln -s /etc dir; ln -s ../../../../../../etc/passwd up
      git init --quiet sub; (cd sub; git -c user.name=a -c user.email=a@b commit --quiet --allow-empty -m sub)
      printf '[submodule "sub"]\\n path = sub\\n url = ext::touch%% /tmp/executed-submodule\\n update = !touch /tmp/executed-update\\n' >.gitmodules
      echo safe >index.html; mkdir hooks; cp ${work}/hooks/* hooks/; git add --all 2>/dev/null; git commit --quiet -m evil; git push --quiet origin HEAD:main`);
    await pull(guest);
    await guest.sh(`systemctl restart '${unit}'`);
    t.is(await guest.sh('ls /tmp/executed* 2>/dev/null || true'), '');
    t.is(await shown(guest), 'safe');
    for (const path of ['/link', '/dir/passwd', '/up', '/.gitattributes', '/.gitmodules', '/.git/config', '/sub/', '/sub/.git']) t.is((await ask(guest, path, { root })).status, 404, path);
    t.is(await guest.sh(`find ${checkout}/trees/*/sub | wc -l`), '1');
  } finally {
    await guest.sh('rm -f /etc/gitconfig /root/.gitconfig');
  }
});

guestTest('kills in the middle, their locks and a damaged repository are got over', async (t, guest) => {
  await commit(guest, 'for i in $(seq 400); do seq $i 3000 >page$i.txt; done');
  await pull(guest);
  for (const wait of ['0.25', '0.35', '0.45', '0.55', '0.7']) {
    await commit(guest, `for i in $(seq 400); do echo ${wait} >>page$i.txt; done; echo ${wait} >index.html`);
    await guest.sh(`setsid sitegen pull ${domain} >/dev/null 2>&1 & sleep ${wait}; kill -9 -- -$! || true`);
    t.true(/^(1|0\.\d+)$/.test(await shown(guest)));
  }
  await guest.sh(`touch ${checkout}/repository.git/{shallow,index.export,HEAD,packed-refs}.lock ${checkout}/repository.git/refs/heads/served.lock ${checkout}/current.new; mkdir -p ${checkout}/trees/new/x`);
  await commit(guest, 'echo after >index.html');
  await pull(guest);
  t.is(await shown(guest), 'after');
  await commit(guest, 'echo healed >index.html');
  await guest.sh(`find ${checkout}/repository.git/objects -type f -exec truncate -s 3 {} +; : >${checkout}/repository.git/HEAD`);
  await pull(guest);
  t.is(await shown(guest), 'healed');
  t.is(await guest.sh(`cd ${root} && find . -type f | wc -l; diff -r --exclude .git . ${work}/work && ls ${checkout}/trees | grep -c .`), '403\n2');
});

guestTest('a token is sent to the server and shown nowhere', async (t, guest) => {
  await write(guest, '/tmp/git-server.mjs', `
    import fs from 'node:fs';
    import http from 'node:http';
    const secret = 'Basic ' + Buffer.from('user:to/ken').toString('base64');
    http.createServer((request, response) => {
      fs.appendFileSync('/tmp/git-server.ps', fs.readdirSync('/proc').filter((name) => /^\\d+$/.test(name)).map((name) => { try { return fs.readFileSync('/proc/' + name + '/cmdline', 'utf8'); } catch { return ''; } }).filter((line) => /^(\\/usr\\/lib\\/git-core\\/)?git/.test(line)).join('\\n'));
      if (request.headers.authorization !== secret) { response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(); return; }
      const file = '${work}/site.git' + new URL(request.url, 'http://x').pathname.replace('/site.git', '');
      fs.readFile(file, (error, content) => { response.writeHead(error ? 404 : 200).end(content); });
    }).listen(8417, '127.0.0.1');`);
  await guest.sh(`git -C ${work}/site.git update-server-info; rm -f /tmp/git-server.ps; systemd-run --quiet --unit test-git-server node /tmp/git-server.mjs; sleep 0.7`);
  try {
    const use = (user: string) => guest.sh(`sed -i 's|git: .*|git: http://${user}127.0.0.1:8417/site.git|' /etc/sitegen/sites/${domain}.yaml`);
    for (const user of ['', 'user:wrong@']) {
      await use(user);
      const refused = await guest.sitegen('pull', domain);
      t.is(refused.code, 1);
      t.regex(refused.stderr, /cannot pull http:\/\/127\.0\.0\.1:8417\/site\.git: .*is it private\?/);
      t.notRegex(refused.stderr, /wrong/);
    }
    await use('user:to%2Fken@');
    await pull(guest);
    t.is(await shown(guest), '1');
    const seen = await guest.sh('cat /tmp/git-server.ps');
    t.regex(seen, /127\.0\.0\.1:8417/);
    t.notRegex(seen, /wrong|ken/);
    t.is(await guest.sh(`grep -r 'ken' ${checkout}/repository.git/config || true`), '');
  } finally {
    await guest.sh('systemctl stop test-git-server');
  }
});
