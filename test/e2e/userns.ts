import { endServers, prepare, startServers } from './_backup.ts';
import { newestTest, until, type Guest } from './_guest.ts';
import { buildImage } from './_images.ts';
import { write } from './_machine.ts';

const domain = 'mapped.example.com';
const data = `/var/lib/sitegen/sites/${domain}/data`;

/** Tells Docker whether to map users of containers to others of the machine; that takes a directory of its own, without images and containers. */
async function mapUsers(guest: Guest, isOn: boolean): Promise<void> {
  await write(guest, '/etc/docker/daemon.json', isOn ? '{"userns-remap": "default"}\n' : '{}\n');
  await guest.sh('systemctl restart docker');
  await buildImage(guest, 'test/mapped:1', { Dockerfile: 'FROM scratch\nCOPY busybox /bin/busybox\nRUN ["/bin/busybox", "--install", "/bin"]\nSTOPSIGNAL SIGKILL\nCMD ["/bin/busybox", "httpd", "-f", "-p", "80", "-h", "/files"]\n' });
}

newestTest('where Docker maps users of containers, a site keeps its data over that, over a backup and a restore, and back', async (t, guest) => {
  const inContainer = async (script: string) => {
    const { code, stdout, stderr } = await guest.sitegen('exec', domain, '--', 'sh', '-c', script);
    return code === 0 ? stdout.trim() : stderr;
  };
  const onMachine = (...names: string[]) => guest.sh(`cd ${data}; stat -c '%u:%g' ${names.join(' ')} | tr '\\n' ' '`);
  const seen = "cd /files; stat -c '%u:%g' . root www link | tr '\\n' ' '; cat www";
  const visit = async () => {
    const { address } = await guest.status(domain);
    return (await guest.get(address, { path: '/www', timeoutS: 60 })).body;
  };
  await guest.sh('[ ! -e /etc/docker/daemon.json ] || cp /etc/docker/daemon.json /root/daemon.json.before');
  try {
    await mapUsers(guest, false);
    await guest.site(domain, '--image', 'test/mapped:1', '--volume', 'files:/files');
    await guest.sh(`printf '%s\\n' 'owners: {files: "33:34"}' 'stop: {timeout: 1s}' >>/etc/sitegen/sites/${domain}.yaml; rmdir ${data}/files; sitegen apply --quiet`);
    await inContainer('cd /files; echo root >root; echo www >www; chown 33:33 www; ln -s root link; chown -h 33:33 link');
    t.is(await inContainer(seen), '33:34 0:0 33:33 33:33 www');
    t.is(await onMachine('.', 'files', 'files/www'), '0:0 33:34 33:33');

    await mapUsers(guest, true);
    t.is((await guest.sitegen('apply')).code, 0);
    t.is(await visit(), 'www\n');
    t.is(await inContainer(seen), '33:34 0:0 33:33 33:33 www');
    const root = Number(await guest.sh(`stat -c %u ${data}`));
    t.true(root >= 65_536, `${root}`);
    t.is(await onMachine('files/root', 'files/www', 'files/link'), `${root}:${root} ${root + 33}:${root + 33} ${root + 33}:${root + 33}`);
    t.is(await guest.sh(`awk '{ print $1, $2 }' /proc/$(docker inspect -f '{{.State.Pid}}' site-${domain})/uid_map`), `0 ${root}`);
    t.is(await inContainer('echo new >/files/new && chown 33 /files/new && echo done'), 'done');

    t.log('a directory that is made later, and what comes out of a backup');
    await write(guest, `/etc/sitegen/sites/${domain}.yaml`, `domain: ${domain}\nimage: test/mapped:1\nport: 80\nvolumes: ["files:/files", "more:/more"]\nowners: {files: "33:34", more: "7:8"}\nstop: {timeout: 1s}\n`);
    await guest.sh('sitegen apply --quiet');
    t.is(await inContainer("stat -c '%u:%g' /more"), '7:8');
    t.is((await guest.sitegen('backup', domain)).code, 0);
    const commit = await guest.sh(`git -c safe.directory='*' -C /var/lib/sitegen/git/${domain}.git rev-parse main`);
    t.regex(await guest.sh(`git -c safe.directory='*' -C /var/lib/sitegen/git/${domain}.git show main:meta/manifest | grep -a files/`), /^f 0644 33 33 .*files\/www$/m);
    await guest.sh(`rm ${data}/files/www`);
    t.is((await guest.sitegen('restore', domain, '--at', commit, '--path', 'files/www')).code, 0);
    t.is(await onMachine('files/www'), `${root + 33}:${root + 33}`);
    await guest.sh(`rm ${data}/files/*`);
    t.is((await guest.sitegen('restore', domain, '--at', commit, '--force', '--yes')).code, 0);
    t.is(await visit(), 'www\n');
    t.is(await inContainer(seen), '33:34 0:0 33:33 33:33 www');

    t.log('a rehearsal, in a container that has the data to itself');
    await startServers(guest);
    await prepare(guest, domain);
    t.is((await guest.sitegen('backup', domain, '--wait')).code, 0);
    const rehearsed = await guest.sitegen('backup', 'rehearse', domain);
    t.is(rehearsed.code, 0, rehearsed.stderr);
    t.regex(rehearsed.stdout, /came back from .* and answered/);

    await guest.sitegen('stop', domain);
    await mapUsers(guest, false);
    await guest.sh('sitegen apply --quiet');
    await until('it answers', async () => await visit() === 'www\n');
    t.is(await inContainer(seen), '33:34 0:0 33:33 33:33 www');
    t.is(await onMachine('.', 'files', 'files/new', 'more'), '0:0 33:34 33:0 7:8');
  } finally {
    await endServers(guest);
    await guest.sh('rm /etc/docker/daemon.json; [ ! -e /root/daemon.json.before ] || mv /root/daemon.json.before /etc/docker/daemon.json; systemctl restart docker; rm -rf /var/lib/docker/*.*');
  }
});
