import { backupOf, endServers, prepare, servers, startServers } from './_backup.ts';
import { addKeeper, domain } from './_keeper.ts';
import { guestTest } from './_guest.ts';

guestTest('a restore is rehearsed from each server in a container without a network, and one that fails is an alarm', async (t, guest) => {
  try {
    await startServers(guest);
    await prepare(guest, domain);
    const address = await addKeeper(guest);
    await guest.sh(`curl -sf --max-time 60 -d 'kept' http://${address}/cgi-bin/note`);
    t.is((await guest.sitegen('backup', domain, '--wait')).code, 0);
    const before = await guest.sh(`docker ps --all --format '{{.Names}} {{.ID}}' | sort; systemctl is-active site-${domain}`);

    const rehearsed = await guest.sitegen('backup', 'rehearse', domain);
    t.is(rehearsed.code, 0, rehearsed.stderr);
    for (const { url } of servers) t.true(rehearsed.stdout.includes(`${domain}: came back from ${url} and answered`), rehearsed.stdout);
    for (const { rehearsal } of (await backupOf(guest, domain)).servers) t.is(rehearsal?.error, null);
    t.regex((await guest.sitegen('backup', 'list', domain)).stdout, /rehearsal: .* came back and answered/);
    t.is(await guest.sh(`docker ps --all --format '{{.Names}} {{.ID}}' | sort; systemctl is-active site-${domain}`), before, 'the site itself was not disturbed');
    t.is(await guest.sh('ls -A /var/lib/sitegen/rehearsal'), '');

    // A file of the second server's repository is emptied: only reading all of it shows that.
    await guest.sh(`cd ${servers[1]?.directory}/${domain}.git; chmod -R u+w objects; find objects -type f -size +0 -name '*.pack' -o -type f -size +0 -path 'objects/??/*' | head -n 3 | xargs -r truncate -s 0`);
    await guest.sh(`jq '.rehearsals = {}' /var/lib/sitegen/backup/${domain}.json > /run/state && cat /run/state > /var/lib/sitegen/backup/${domain}.json; systemctl start sitegen-rehearse.service`);
    const [whole, damaged] = (await backupOf(guest, domain)).servers;
    t.is(whole?.rehearsal?.error, null);
    t.truthy(damaged?.rehearsal?.error);
    t.true((await guest.sitegen('alarms')).stdout.includes(`sitegen-rehearse@${domain}.service`));
    t.is(await guest.sh('ls -A /var/lib/sitegen/rehearsal'), '');
  } finally {
    await endServers(guest);
  }
});
