import { backupOf, endServers, prepare, servers, startServers } from './_backup.ts';
import { addKeeper, names, domain } from './_keeper.ts';
import { guestTest, long, until } from './_guest.ts';

/** In CI a handful of rounds, with --long all. */
const rounds = long ? 100 : 3;

guestTest(`${rounds} rounds of dumps, pushes, stops and wakes under writes, with kills: whatever was acknowledged is on both servers`, async (t, guest) => {
  try {
    await startServers(guest);
    await prepare(guest, domain);
    const address = await addKeeper(guest);
    await guest.sh(`rm -f /run/acknowledged /run/killed; cat > /run/writer <<'EOT'
i=0; while [[ ! -e /run/enough ]]; do i=$((i + 1)); curl -sf --max-time 90 --retry 5 --retry-all-errors -d "w$i" http://${address}/cgi-bin/note >/dev/null && echo "w$i" >> /run/acknowledged; sleep 0.1; done
EOT
cat > /run/killer <<'EOT'
# Programs of a backup alone: by what they were started as, one at a time.
while [[ ! -e /run/enough ]]; do
  sleep 0.$((RANDOM % 9))
  victim=$(ps -eo pid,args | grep -E 'dump.mjs|push.mjs|git (fast-import|push|pack-objects|commit-tree|update-ref|receive-pack)|git-receive-pack|sshd: root' | grep -v grep | shuf -n 1)
  [[ -n $victim ]] || continue
  (( RANDOM % 4 == 0 )) || continue
  kill -9 $(awk '{ print $1 }' <<< "$victim") 2>/dev/null && echo "$victim" >> /run/killed
done
EOT
    rm -f /run/enough; for each in writer killer; do systemd-run --quiet --collect --unit chaos-$each bash /run/$each; done`);
    const seen = new Set<string>();
    for (let round = 0; round < rounds; round += 1) {
      if (round % 3 === 2) await guest.sitegen('stop', domain);
      else await guest.sitegen('backup', domain, '--wait');
      const { state, commit } = await backupOf(guest, domain);
      // What is said to be backed up stays on both servers, whatever happens afterwards.
      if (state === 'well' && commit !== null) seen.add(commit);
    }
    await guest.sh('touch /run/enough');
    await until('the writer has stopped', async () => (await guest.sh('systemctl is-active chaos-writer.service chaos-killer.service || true')).split('\n').every((word) => word !== 'active'), 120_000, 500);
    await guest.sitegen('stop', domain);
    t.is((await guest.sitegen('backup', domain, '--wait')).code, 0, 'without kills it works at once');
    t.is((await backupOf(guest, domain, true)).state, 'well');
    for (const { directory } of servers) {
      const git = `git -c safe.directory='*' -C ${directory}/${domain}.git`;
      for (const commit of seen) t.is(await guest.sh(`${git} merge-base --is-ancestor ${commit} main && echo kept`), 'kept');
      t.is(await guest.sh(`${git} show main:meta/dump/dump.sql | grep -v complete | sort -u | comm -13 - <(sort -u /run/acknowledged)`), '', 'acknowledged writes that are missing');
      t.is(await guest.sh(`${git} fsck --full --strict 2>&1 | grep -v '^\\(dangling\\|notice\\|Checking\\)' || true`), '');
    }
    t.is((await guest.sitegen('backup', 'verify', domain)).code, 0);
    t.is((await guest.sitegen('backup', 'verify', domain, '--server', '2201')).code, 0);
    t.is(await guest.sh(`find ${names.git} -name '*.lock'`), '', 'locks');
    // What might still be at work is left alone for a minute.
    await guest.sh(`find ${names.git} -name 'tmp_*' -exec touch -d '2 minutes ago' {} +`);
    t.is((await guest.sitegen('backup', domain)).code, 0);
    t.is(await guest.sh(`find ${names.git} -name 'tmp_*'`), '', 'left-overs');
    t.log(`${(await guest.sh('cat /run/killed 2>/dev/null || true')).split('\n').length} programs were killed, ${seen.size} of ${rounds} rounds were backed up in between, ${(await guest.sh('wc -l < /run/acknowledged'))} writes`);
  } finally {
    await guest.sh('touch /run/enough; systemctl stop chaos-writer.service chaos-killer.service 2>/dev/null || true; systemctl reset-failed');
    await endServers(guest);
  }
});
