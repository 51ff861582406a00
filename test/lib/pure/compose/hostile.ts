import test from 'ava';
import { permissions } from '../../../../lib/pure/compose/schema.ts';
import { read, webWith } from './_project.ts';

/** What a project must not do: lines of a service, lines beside the services, where it is refused and a part of why; what the admin must allow for it. */
const table: readonly [title: string, lines: string, beside: string, at: string, why: string, permission?: string][] = [
  ['a privileged container', 'privileged: true', '', 'services.web.privileged', 'root on this machine', 'privileged'],
  ['a privileged container in quotation marks', 'privileged: "true"', '', 'services.web.privileged', 'root on this machine', 'privileged'],
  ['a capability', 'cap_add: [SYS_ADMIN]', '', 'services.web.cap_add', 'SYS_ADMIN reaches beyond', 'capabilities'],
  ['a capability with its prefix in small letters', 'cap_add: [cap_sys_module]', '', 'services.web.cap_add', 'SYS_MODULE', 'capabilities'],
  ['all capabilities', 'cap_add: [ALL]', '', 'services.web.cap_add', 'ALL', 'capabilities'],
  ['devices', 'devices: ["/dev/sda:/dev/sda"]', '', 'services.web.devices', 'devices are this machine', 'devices'],
  ['security options', 'security_opt: ["seccomp:unconfined"]', '', 'services.web.security_opt', 'takes protection away', 'security-opt'],
  ['AppArmor switched off', 'security_opt: [apparmor=unconfined]', '', 'services.web.security_opt', 'takes protection away', 'security-opt'],
  ['new privileges', 'security_opt: ["no-new-privileges:false"]', '', 'services.web.security_opt', 'takes protection away', 'security-opt'],
  ['the processes of the machine', 'pid: host', '', 'services.web.pid', 'processes of this machine', 'host-pid'],
  ['the processes of a container', 'pid: "container:other"', '', 'services.web.pid', 'another container'],
  ['the shared memory of the machine', 'ipc: host', '', 'services.web.ipc', 'share memory', 'host-ipc'],
  ['the shared memory of a container', 'ipc: "container:other"', '', 'services.web.ipc', 'another container'],
  ['the users of the machine', 'userns_mode: host', '', 'services.web.userns_mode', 'users would be those', 'host-users'],
  ['the network of the machine for the entrypoint', 'network_mode: host', '', 'services.web.network_mode', 'cannot have the network'],
  ['the network of a container', 'network_mode: "container:other"', '', 'services.web.network_mode', 'the project\'s networks'],
  ['Docker\'s bridge', 'network_mode: bridge', '', 'services.web.network_mode', 'the project\'s networks'],
  ['a parent of its own in the cgroups', 'cgroup_parent: /', '', 'services.web.cgroup_parent', 'the site\'s slice'],
  ['the cgroups of the machine', 'cgroup: host', '', 'services.web.cgroup', 'control groups'],
  ['the host name of the machine', 'uts: host', '', 'services.web.uts', 'host name'],
  ['another runtime', 'runtime: nvidia', '', 'services.web.runtime', 'as this machine runs them'],
  ['rules for devices', 'device_cgroup_rules: ["a *:* rwm"]', '', 'services.web.device_cgroup_rules', 'devices of this machine'],
  ['settings of the kernel', 'sysctls: {kernel.msgmax: 1}', '', 'services.web.sysctls', 'kernel'],
  ['a wish for the killer', 'oom_kill_disable: true', '', 'services.web.oom_kill_disable', 'stand still'],
  ['volumes of a container', 'volumes_from: ["container:other"]', '', 'services.web.volumes_from', 'where they are used'],
  ['Docker\'s socket', 'volumes: ["/var/run/docker.sock:/var/run/docker.sock"]', '', 'services.web.volumes.0', 'gives it Docker', 'docker-socket'],
  ['Docker\'s socket by its directory', 'volumes: ["/run:/host"]', '', 'services.web.volumes.0', 'gives it Docker', 'docker-socket'],
  ['Docker\'s socket by a way about', 'volumes: ["/srv/../var/./run/docker.sock:/x"]', '', 'services.web.volumes.0', 'gives it Docker', 'docker-socket'],
  ['all of the machine', 'volumes: ["/:/host"]', '', 'services.web.volumes.0', 'gives it Docker', 'docker-socket'],
  ['Docker\'s socket in the long form', 'volumes: [{type: bind, source: /run/docker.sock, target: /x}]', '', 'services.web.volumes.0', 'gives it Docker', 'docker-socket'],
  ['Docker\'s images', 'volumes: ["/var/lib/docker/volumes:/x:ro"]', '', 'services.web.volumes.0', 'gives it Docker', 'docker-socket'],
  ['a path of the machine', 'volumes: ["/etc:/x:ro"]', '', 'services.web.volumes.0', 'outside the site\'s data', 'host-paths'],
  ['a path above the data', 'volumes: ["../../../etc:/x"]', '', 'services.web.volumes.0', 'outside the site\'s data'],
  ['a path above the data by a way about', 'volumes: ["./a/../../b:/x"]', '', 'services.web.volumes.0', 'outside the site\'s data'],
  ['a home directory', 'volumes: ["~/.ssh:/x"]', '', 'services.web.volumes.0', 'home directory'],
  ['a mount that spreads', 'volumes: ["./a:/x:rshared"]', '', 'services.web.volumes.0', 'rshared'],
  ['a mount that spreads in the long form', 'volumes: [{type: bind, source: ./a, target: /x, bind: {propagation: shared}}]', '', 'services.web.volumes.0', 'how mounts spread'],
  ['the directory of named volumes', 'volumes: ["./volumes/db:/x"]', '', 'services.web.volumes.0', 'where named volumes are'],
  ['a volume over the kernel\'s directories', 'volumes: ["./a:/proc/sys"]', '', 'services.web.volumes.0', 'kernel'],
  ['a volume over everything', 'volumes: ["./a:/x/.."]', '', 'services.web.volumes.0', 'the whole of the container'],
  ['a volume that nobody declared', 'volumes: ["lost:/x"]', '', 'services.web.volumes.0', 'does not have'],
  ['a volume by a key of all objects', 'volumes: ["constructor:/x"]', '', 'services.web.volumes.0', 'does not have'],
  ['two volumes at one place', 'volumes: ["./a:/x", "./b:/x/"]', '', 'services.web.volumes.1', 'has a volume already'],
  ['a volume inside one that can be written', 'volumes: ["./a:/x", "./a/b:/y"]', '', 'services.web.volumes.1', 'lies inside a'],
  ['named volumes beside all of the data', 'volumes: [".:/x", "v:/y"]', 'volumes: {v: }', 'services.web.volumes.1', 'lies inside .'],
  ['a volume of somebody else', 'volumes: ["v:/x"]', 'volumes: {v: {external: true, name: other}}', 'services.web.volumes.0', 'belongs to somebody else', 'external-volumes'],
  ['a volume that is a path of the machine', 'volumes: ["v:/x"]', 'volumes: {v: {driver: local, driver_opts: {type: none, o: bind, device: /etc}}}', 'volumes.v.driver_opts', 'any path of this machine'],
  ['a volume of another driver', 'volumes: ["v:/x"]', 'volumes: {v: {driver: sshfs}}', 'volumes.v.driver', 'directories of the site\'s data'],
  ['a network of somebody else', 'networks: [n]', 'networks: {n: {external: true}}', 'networks.n.external', 'containers of others', 'external-networks'],
  ['a network on the wire', 'networks: [n]', 'networks: {n: {driver: macvlan}}', 'networks.n.driver', 'network of this machine'],
  ['a network with options', 'networks: [n]', 'networks: {n: {driver_opts: {com.docker.network.bridge.name: sitegen0}}}', 'networks.n.driver_opts', 'open the network'],
  ['a network that nobody declared', 'networks: [n]', '', 'services.web.networks', 'not a network'],
  ['an address of its own', 'networks: {default: {ipv4_address: 10.214.0.1}}', '', 'services.web.networks.default.ipv4_address', 'not supported'],
  ['a label of sitegen\'s', 'labels: {sitegen.domain: other.example.com}', '', 'services.web.labels.sitegen.domain', 'knows its containers'],
  ['the unit that the journal names', 'labels: [OBJECT_SYSTEMD_UNIT=ssh.service]', '', 'services.web.labels.OBJECT_SYSTEMD_UNIT', 'knows its containers'],
  ['a name of its own', 'container_name: site-other.example.com', '', 'services.web.container_name', 'called after the site'],
  ['options of a tmpfs in its mode', 'volumes: [{type: tmpfs, target: /x, tmpfs: {mode: "1777,suid"}}]', '', 'services.web.volumes.0.tmpfs.mode', 'not a mode'],
  ['published ports', 'ports: ["8080:80"]', '', 'services.web.ports', 'past the router', 'ports'],
  ['a build', 'build: ../..', '', 'services.web.build', 'not built here'],
  ['a build with a context on the web', 'build: {context: "https://example.com/x.git", network: host}', '', 'services.web.build', 'not built here'],
  ['a file of variables', 'env_file: /etc/shadow', '', 'services.web.env_file', 'files are not read'],
  ['another file', 'extends: {file: /etc/passwd, service: x}', '', 'services.web.extends', 'one file'],
  ['files of secrets', 'secrets: [s]', 'secrets: {s: {file: /etc/shadow}}', 'secrets', 'not supported'],
  ['files of configuration', 'read_only: true', 'configs: {c: {file: /etc/shadow}}', 'configs', 'not supported'],
  ['included files', 'read_only: true', 'include: [/etc/x.yaml]', 'include', 'one file'],
  ['a key that nobody knows', 'credential_spec: {file: x}', '', 'services.web.credential_spec', 'not supported'],
  ['a service that waits for itself', 'depends_on: [web]', '', 'services.web.depends_on', 'in a circle: web -> web'],
  ['a service that waits for nobody', 'depends_on: [db]', '', 'services.web.depends_on', 'not a service'],
  ['no entrypoint', 'read_only: true', '', 'services', 'no service front'],
  ['a test that is no program', 'healthcheck: {test: [RUN, x]}', '', 'services.web.healthcheck.test', 'must begin with'],
  ['a command that is not closed', 'command: sh -c "x', '', 'services.web.command', 'not closed'],
  ['a name of a service with a path in it', 'read_only: true', '  ../x: {image: y}', 'services.../x', 'not the name of a service'],
];

for (const [title, lines, beside, at, why, permission] of table) {
  test(`a project is refused for ${title}`, (t) => {
    const project = webWith(lines, beside);
    const entrypoint = title === 'no entrypoint' ? 'front' : 'web';
    const { faults } = read(project, { entrypoint });
    t.true(faults.some((fault) => fault.startsWith(`${at}: `) && fault.includes(why)), JSON.stringify(faults));
    const others = read(project, { entrypoint, allow: permissions.filter((each) => each !== permission) }).faults;
    t.true(others.some((fault) => fault.startsWith(`${at}: `)), 'no other permission opens it');
    if (permission !== undefined) t.deepEqual(read(project, { entrypoint, allow: [permission] }).faults, [], 'its own permission does');
  });
}

test('what the admin allows still has to have a form that is known', (t) => {
  const fault = (lines: string, permission: string) => read(webWith(lines), { allow: [permission] }).faults.join();
  t.regex(fault('ports: [{target: 80}]', 'ports'), /another form than "8080:80"/);
  t.regex(fault('ports: [80]', 'ports'), /another form/);
  t.regex(fault('devices: ["/dev/../etc/shadow"]', 'devices'), /another form/);
  t.regex(fault('devices: ["/etc/shadow:/x"]', 'devices'), /another form/);
});

test('what is hidden in a variable is refused too', (t) => {
  t.regex(read(webWith('volumes: ["${WHERE}:/x"]'), { env: { WHERE: '/etc' } }).faults.join(), /outside the site's data/);
  t.regex(read(webWith('privileged: "${YES}"'), { secrets: { YES: 'true' } }).faults.join(), /root on this machine/);
});

test('a project that many services wait through is read in no time', (t) => {
  const services = Array.from({ length: 60 }, (_, step) => ['a', 'b'].map((side) => `  ${side}${step}: {image: x, depends_on: [${step === 0 ? '' : `a${step - 1}, b${step - 1}`}]}`)).flat();
  t.deepEqual(read(`services:\n${services.join('\n')}\n`, { entrypoint: 'a59' }).faults, []);
});

test('a usual project is taken', (t) => {
  const { faults } = read(`
name: blog
x-common: ignored
services:
  web:
    image: ghcr.io/example/web:1
    command: serve --port 8080
    environment: [A=1, B]
    depends_on: {db: {condition: service_healthy}, migrate: {condition: service_completed_successfully}}
    volumes: ["./uploads:/uploads", "./site.conf:/etc/site.conf:ro", {type: tmpfs, target: /tmp, tmpfs: {size: 64m}}]
    cap_add: [CHOWN]
    security_opt: ["no-new-privileges:true"]
    restart: always
    expose: [8080]
    networks: [front, default]
  migrate: {image: web, command: [migrate], depends_on: {db: {condition: service_healthy}}}
  db:
    image: postgres:16
    environment: {POSTGRES_PASSWORD: "\${PASSWORD:?a password}"}
    volumes: ["db:/var/lib/postgresql/data"]
    healthcheck: {test: "pg_isready -U postgres", interval: 1m30s, retries: 3}
    shm_size: 64mb
    stop_grace_period: 1m
networks: {front: , default: {internal: true}}
volumes: {db: }
`, { secrets: { PASSWORD: 'x' } });
  t.deepEqual(faults, []);
});
