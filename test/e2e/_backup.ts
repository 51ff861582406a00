import { execa } from 'execa';
import { lab, type Guest } from './_guest.ts';
import { write } from './_machine.ts';

/**
 * Two backup servers within a guest: sshds of their own with accounts' keys of their own, which
 * have plain bare repositories. What sitegen's own receiving side does is shown elsewhere.
 */
export const servers = [1, 2].map((number) => ({
  number,
  port: 2200 + number,
  directory: `/srv/backup${number}`,
  url: `ssh://root@127.0.0.1:${2200 + number}/srv/backup${number}`,
  unit: `backup-server${number}.service`,
}));

/** Starts both, and names them in sitegen.yaml. @param more lines of `backup:`, and further sections */
export async function startServers(guest: Guest, more = ''): Promise<void> {
  await guest.sh(`
    mkdir -p /root/.ssh /run/sshd; chmod 700 /root/.ssh
    sitegen backup key > /root/.ssh/authorized_keys; chmod 600 /root/.ssh/authorized_keys
    ${servers.map(({ number, port, directory, unit }) => `
      mkdir -p ${directory}
      [[ -e /root/host${number} ]] || ssh-keygen -q -t ed25519 -N '' -f /root/host${number}
      printf '%s\\n' '[Unit]' 'Before=sitegen-watch-boot.service' '[Service]' 'RuntimeDirectory=sshd' 'RuntimeDirectoryPreserve=yes' \
        'ExecStart=/usr/sbin/sshd -D -e -f /dev/null -p ${port} -h /root/host${number} -o PermitRootLogin=prohibit-password -o UsePAM=no -o PidFile=none' \
        '[Install]' 'WantedBy=multi-user.target' > /etc/systemd/system/${unit}
      systemctl enable --quiet --now ${unit}`).join('')}
    {
      echo 'acme: {enabled: false}'
      echo 'backup:'
      echo '  servers:'
      ${servers.map(({ number, url }) => `printf '    - {url: "%s", hostKey: "%s"}\\n' '${url}' "$(cut -d' ' -f1,2 /root/host${number}.pub)"`).join('\n      ')}
      cat <<'EOT'
${more}
EOT
    } > /etc/sitegen/sitegen.yaml`);
}

/**
 * Has another guest back up to the servers of this one.
 * @param guest which has them, as something that survives; @param more as for `startServers`
 */
export async function backUpTo(guest: Guest, other: Guest, more = ''): Promise<void> {
  const { stdout: address } = await execa(lab, ['addr', guest.name]);
  const hostKeys = await Promise.all(servers.map(({ number }) => guest.sh(`cut -d' ' -f1,2 /root/host${number}.pub`)));
  const key = await other.sh('sitegen backup key');
  await guest.sh(`echo '${key}' >> /root/.ssh/authorized_keys`);
  await write(other, '/etc/sitegen/sitegen.yaml', ['acme: {enabled: false}', 'backup:', '  servers:',
    ...servers.map(({ url }, index) => `    - {url: "${url.replace('127.0.0.1', address.trim())}", hostKey: "${hostKeys[index] ?? ''}"}`), more, ''].join('\n'));
}

/** Makes the empty repositories of a site on both, as an admin does on a plain server. */
export async function prepare(guest: Guest, domain: string): Promise<void> {
  await guest.sh(servers.map(({ directory }) => `git init --quiet --bare -b main ${directory}/${domain}.git`).join('\n'));
}

/** Ends both, and takes everything of them away. */
export async function endServers(guest: Guest): Promise<void> {
  await guest.sh(`
    ${servers.map(({ unit, directory }) => `systemctl disable --quiet --now ${unit} 2>/dev/null || true; rm -rf ${directory} /etc/systemd/system/${unit}`).join('\n')}
    rm -f /root/.ssh/authorized_keys /root/host[12]*
    cp /usr/src/sitegen/templates/sitegen.yaml /etc/sitegen/sitegen.yaml`);
}

/** As `backup list --json` has it. */
export interface BackupJson {
  domain: string;
  state: string;
  reason: string | null;
  commit: string | null;
  dumpedAt: string | null;
  warnings: string[];
  servers: { url: string; commit: string | null; upToDate: boolean; error: string | null; rehearsal: { error: string | null } | null }[];
}

/** What is known of a site's backups. @param ask also asks the servers */
export async function backupOf(guest: Guest, domain: string, ask = false): Promise<BackupJson> {
  const { stdout, stderr } = await guest.sitegen('backup', 'list', '--json', ...(ask ? [domain] : []));
  const row = (JSON.parse(stdout === '' ? '[]' : stdout) as BackupJson[]).find((each) => each.domain === domain);
  if (!row) throw new Error(`sitegen backup list ${domain}: ${stderr}`);
  return row;
}
