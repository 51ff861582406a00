import { execa } from 'execa';
import type { TestFn } from 'ava';
import { guestName, lab, openGuest, type Guest } from './_guest.ts';

/**
 * Two servers of other people with sitegen's receiving side, real ssh and real git: one is a guest
 * of its own, the other one is the account that the site's guest has for that.
 */
export const domain = 'shelf.example.com';
const buddyName = `${guestName}-buddy`;
export const far = openGuest(buddyName);
export const held = `/var/lib/sitegen-buddy/web/${domain}.git`;
export const local = `/var/lib/sitegen/git/${domain}.git`;
export const data = `/var/lib/sitegen/sites/${domain}/data`;
export const push = `sitegen-push@${domain}.service`;
export const retry = `sitegen-push@${domain}.timer`;

let farAddress = '';
/** The other guest's address. */
export const farHost = () => farAddress;
export const farUrl = () => `ssh://sitegen-buddy@${farAddress}`;
export const nearUrl = 'ssh://sitegen-buddy@127.0.0.1/web';

export const hostKeyOf = async (guest: Guest) => guest.sh('cut -d" " -f1,2 /etc/ssh/ssh_host_ed25519_key.pub');
export const git = (guest: Guest, repository: string, args: string) => guest.sh(`git -c safe.directory='*' -C ${repository} ${args}`);
export const headOf = (guest: Guest, repository = held) => git(guest, repository, 'for-each-ref --format="%(objectname)" refs/heads/main');

/** Names the servers in the settings. */
export async function useServers(guest: Guest, ...servers: { url: string; hostKey: string }[]): Promise<void> {
  await guest.sh(`cat >/etc/sitegen/sitegen.yaml <<'E'
acme: {enabled: false}
backup:
  servers:
${servers.map(({ url, hostKey }) => `    - {url: "${url}", hostKey: "${hostKey}"}`).join('\n')}
E`);
}

export async function useBoth(guest: Guest): Promise<void> {
  await useServers(guest, { url: farUrl(), hostKey: await hostKeyOf(far) }, { url: nearUrl, hostKey: await hostKeyOf(guest) });
}

/** Changes the site and commits that; its push is started by that, and not waited for. @returns the commit */
export async function commit(guest: Guest, script: string): Promise<string> {
  await guest.sh(`cd ${data}; ${script}`);
  const { code, stderr } = await guest.sitegen('backup', domain);
  if (code !== 0) throw new Error(stderr);
  return headOf(guest, local);
}

/** Pushes, and waits for its end. */
export async function pushNow(guest: Guest): Promise<{ code: number; log: string }> {
  const since = await guest.sh('date +%s.%N');
  const { code } = await guest.run(['systemctl', 'start', push], { timeoutMs: 300_000 });
  await guest.sh('journalctl --sync');
  return { code, log: await guest.sh(`journalctl -u ${push} --since @${since} -o cat --no-pager`) };
}

/** Commits with no server in the settings, so that only what a test starts pushes. */
export async function commitAlone(guest: Guest, script: string): Promise<string> {
  await guest.sh('mv /etc/sitegen/sitegen.yaml /etc/sitegen/aside.yaml; echo "acme: {enabled: false}" >/etc/sitegen/sitegen.yaml');
  try {
    return await commit(guest, script);
  } finally {
    await guest.sh('mv /etc/sitegen/aside.yaml /etc/sitegen/sitegen.yaml');
  }
}

/** A step of git with the server's key: what somebody can do who has stolen it. */
export const thief = (address: string) => `export GIT_SSH_COMMAND='ssh -F /dev/null -i /etc/sitegen/keys/server -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR'; export GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x; U=ssh://sitegen-buddy@${address}/${domain}.git; cd ${local}`;

export const fails = async (guest: Guest, script: string): Promise<string> => {
  const { code, stdout, stderr } = await guest.run(['bash', '-c', script]);
  if (code === 0) throw new Error(`this should have failed: ${script}\n${stdout}${stderr}`);
  return stdout + stderr;
};

/** Boots the other guest, and makes both machines and the site as new for each test of a file. */
export function withServers(test: TestFn): void {
  test.serial.before(async () => {
    await execa(lab, ['up', buddyName], { timeout: 300_000 });
    farAddress = (await execa(lab, ['addr', buddyName])).stdout.trim();
  });

  test.serial.after.always(async () => {
    if (process.env['SITEGEN_KEEP_BUDDY'] !== '1') await execa(lab, ['down', buddyName]);
  });

  test.serial.beforeEach(async () => {
    const guest = openGuest(guestName);
    const key = (await guest.sitegen('backup', 'key')).stdout.trim();
    for (const machine of [guest, far]) {
      await machine.sh(`systemctl start ssh; rm -rf /var/lib/sitegen-buddy/web/*; sitegen buddy allow -q web --key '${key}' --quota 500M >/dev/null`);
    }
    await guest.sh(`rm -rf /run/sitegen/hosts ${local} /var/lib/sitegen/backup/${domain}.*; mkdir -p ${data}; rm -rf ${data}/*; printf 'domain: ${domain}\\nstatic: {directory: .}\\n' >/etc/sitegen/sites/${domain}.yaml
      mkdir -p /run/systemd/system/sitegen-push@.timer.d; printf '[Timer]\\nOnActiveSec=\\nOnActiveSec=3s\\nOnActiveSec=6s\\nOnActiveSec=12s\\nOnActiveSec=24s\\nOnActiveSec=48s\\nRandomizedDelaySec=0\\n' >/run/systemd/system/sitegen-push@.timer.d/soon.conf; systemctl daemon-reload`);
    await useBoth(guest);
  });

  test.serial.afterEach.always(async () => {
    const guest = openGuest(guestName);
    await guest.sh(`systemctl stop ${push}; systemctl stop ${retry}; systemctl stop 'test-sshd-*' 2>/dev/null || true; nft delete table inet test 2>/dev/null || true
      for pid in $(pgrep -u sitegen-buddy); do kill -9 $pid || true; done
    umount /var/lib/sitegen-buddy/web 2>/dev/null || true; rm -rf /var/lib/sitegen-buddy /etc/sitegen/sites/${domain}.yaml ${local} ${data} /var/lib/sitegen/backup/${domain}.* /run/systemd/system/sitegen-push@.timer.d
      systemctl daemon-reload; systemctl reset-failed; rm -f /var/lib/sitegen/alarms/sitegen-{push@${domain},buddy}.service.json; cp /usr/src/sitegen/templates/sitegen.yaml /etc/sitegen/sitegen.yaml`);
  });
}
