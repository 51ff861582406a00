import type { Guest } from './_lab.ts';

/**
 * Everything that a site could leave on a machine, a line each: files with owner, mode and
 * content, units at work or failed, containers, rules, routes and neighbours. Units without a
 * file that systemd still has in mind, as sockets.target wanted them at its last reload, do not
 * count; nor does what is the machine's own: alarms, the ACME account, figures of visits, which images it has fetched.
 */
export async function inventory(guest: Guest): Promise<string[]> {
  const text = await guest.sh(`
    # Certificates are asked for after a command has returned.
    while systemctl list-units --plain --no-legend --state=activating 'sitegen-certify@*' sitegen-renew.service | grep -q .; do sleep 0.1; done
    find /etc/sitegen /etc/systemd/system /var/lib/sitegen ! -path /var/lib/sitegen/containers ! -path /var/lib/sitegen/processes ! -path '/var/lib/sitegen/alarms*' ! -path '/var/lib/sitegen/acme' ! -path '/var/lib/sitegen/acme/account*' ! -path '/var/lib/sitegen/stats*' ! -path '/var/lib/sitegen/images*' -printf '%y %m %u %p %l\\n'
    find /etc/sitegen /etc/systemd/system /var/lib/sitegen -type f ! -path '*/data/*' ! -path '/var/lib/sitegen/alarms*' ! -path '/var/lib/sitegen/acme/account*' ! -path '/var/lib/sitegen/stats*' ! -path '/var/lib/sitegen/images*' -exec sha256sum {} +
    systemctl list-units --all --plain --no-legend 'site-*' | awk '$3 $4 != "inactivedead" { print "unit", $1, $2, $3, $4 }'
    systemctl list-units --all --plain --no-legend 'sitegen-process@*' 'sitegen-run-*' | awk '$3 $4 != "inactivedead" { print "unit", $1, $2, $3, $4 }'
    getent passwd | sed -n 's/^sg-/user &/p'
    docker ps --all --format 'container {{.Names}} {{.ID}} {{.State}}'
    docker network inspect sitegen --format 'network {{.Id}}'
    nft --stateless list table inet sitegen | sed 's/ expires [^ ,}]*//; /[0-9] counter/d'
    ip -4 route show table all | sed 's/^/route /; s/ linkdown//'
    ip neighbour show dev sitegen0 | awk '$NF != "FAILED" { print "neighbour", $1 }'
    find /sys/fs/cgroup -maxdepth 3 -type d -path '*site.slice/*' | grep -v 'sitegen-\\|docker' || true`);
  return text.split('\n').sort();
}

/** What an inventory has now and had not before, with "+", and the reverse with "-". */
export function changes(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...before.filter((line) => !after.includes(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !before.includes(line)).map((line) => `+ ${line}`),
  ];
}

/** Writes a file in a guest. */
export async function write(guest: Guest, file: string, content: string): Promise<void> {
  const { code, stderr } = await guest.run(['sh', '-c', `mkdir -p "$(dirname '${file}')" && cat > '${file}'`], { input: content });
  if (code !== 0) throw new Error(`${file}: ${stderr}`);
}
