import test from 'ava';
import { stringify } from 'yaml';
import { importProject, parseEnv, volumeName } from '../../../../lib/pure/compose/import.ts';
import { readAcme, readLabels } from '../../../../lib/pure/compose/traefik.ts';
import { SitegenError } from '../../../../lib/pure/errors.ts';
import { desiredOf } from '../../_site.ts';

const text = `
services:
  traefik: {image: "traefik:v3", ports: ["80:80"], volumes: ["/var/run/docker.sock:/var/run/docker.sock"]}
  web:
    image: blog:1
    container_name: blog
    depends_on: [db, traefik]
    ports: ["8080:8080"]
    env_file: web.env
    environment: [DB_PASSWORD, "TITLE=\${TITLE:-none}"]
    volumes: ["./uploads:/uploads", "./site.conf:/etc/site.conf:ro", "/etc/localtime:/etc/localtime:ro"]
    networks: [proxy, default]
    logging: {driver: json-file}
    labels:
      - traefik.enable=true
      - "traefik.http.routers.blog.rule=Host(\`Blog.example.com\`) || Host(\`www2.example.com\`)"
      - traefik.http.routers.blog.tls.certresolver=le
      - traefik.http.services.blog.loadbalancer.server.port=8080
      - "traefik.http.middlewares.auth.basicauth.users=alice:$$2y$$05$$abcdefghijklmnopqrstuuu,bob:$$apr1$$x$$y"
      - traefik.http.middlewares.x.ratelimit.average=5
  db: {image: "postgres:16", volumes: ["db:/var/lib/postgresql/data"], environment: {POSTGRES_PASSWORD: "\${DB_PASSWORD}"}}
networks: {proxy: {external: true}}
volumes: {db: {name: old-db}}
`;
const folder = {
  project: 'blog', text, variables: { DB_PASSWORD: 'a$b', TITLE: 'My blog', UNUSED: 'x' },
  envFiles: new Map([['web.env', { MAIL: 'cost$5' }]]), isFile: (name: string) => name === 'site.conf',
};

test('a project behind Traefik becomes settings that are taken, without anything allowed', (t) => {
  const { settings, hosts, copies } = importProject(folder);
  t.deepEqual(hosts, ['blog.example.com', 'www2.example.com']);
  t.deepEqual(copies, [{ from: { path: 'uploads' }, to: 'uploads' }, { from: { path: 'site.conf' }, to: 'site.conf' }, { from: { volume: 'db' }, to: 'volumes/db' }]);
  t.deepEqual([settings['env'], settings['secrets'], Object.keys(settings['auth'] as object)], [{ TITLE: 'My blog' }, { DB_PASSWORD: 'a$b' }, ['alice']]);
  const { auth: _, ...rest } = settings;
  const want = desiredOf({ site: stringify({ domain: 'blog.example.com', ...rest }) });
  t.deepEqual(want.project?.containers.map(({ service }) => service), ['db', 'web']);
  t.deepEqual([...want.container?.Env ?? []].sort(), ['DB_PASSWORD=a$b', 'MAIL=cost$5', 'TITLE=My blog']);
  t.deepEqual(want.dataFiles, [`${want.names.dataDir}/site.conf`]);
  t.deepEqual(want.project?.containers[0]?.spec.Env, ['POSTGRES_PASSWORD=a$b']);
});

test('all that is otherwise afterwards is said', (t) => {
  const notes = importProject(folder).notes.join('\n');
  for (const said of [/traefik is left out/, /network proxy is left out/, /web: its ports are published no more \(\["8080:8080"\]\)/, /web: logging is left out/, /web: container_name/, /web: \/etc\/localtime/, /the lines of web.env/, /password of bob/, /ratelimit/]) t.regex(notes, said);
});

test('the service that visitors reach has to be said where several could be it', (t) => {
  const two = { ...folder, text: 'services: {a: {image: x}, b: {image: y}}' };
  t.throws(() => importProject(two), { instanceOf: SitegenError, message: /several services/ });
  t.is((importProject(two, 'b:81').settings['compose'] as { entrypoint: string }).entrypoint, 'b:81');
  t.throws(() => importProject(two, 'c'), { instanceOf: SitegenError, message: /no service c/ });
});

test('what a project must not do is taken over as it is, to be refused by name', (t) => {
  const { settings } = importProject({ ...folder, text: 'services: {a: {image: x, privileged: true, volumes: ["/etc:/x", "../up:/y"]}}' });
  const error = t.throws(() => desiredOf({ site: stringify({ domain: 'example.com', ...settings }) }), { instanceOf: SitegenError });
  for (const said of [/a\.privileged: a privileged/, /volumes\.0: \/etc is outside/, /volumes\.1: \.\.\/up is outside/]) t.regex(error.message, said);
});

test('a service that is built has the image that Compose made of it', (t) => {
  const { settings } = importProject({ ...folder, text: 'services: {a: {build: .}}' });
  t.is(desiredOf({ site: stringify({ domain: 'example.com', ...settings }) }).container?.Image, 'blog-a');
});

test('rules of Traefik are read, and what they leave open is told', (t) => {
  const routed = readLabels({ 'traefik.http.routers.a.rule': 'Host(`a.example.com`, "b.example.com") && PathPrefix(`/x`) && !Method(`GET`) && HeadersRegexp(`A`, `b`)' });
  t.deepEqual([routed?.hosts, routed?.paths, routed?.others.length], [['a.example.com', 'b.example.com'], ['/x'], 2]);
  t.is(readLabels({ 'other.label': 'x' }), undefined);
  t.is(readLabels({ 'traefik.enable': 'false', 'traefik.http.routers.a.rule': 'Host(`a.example.com`)' }), undefined);
});

test('certificates of Traefik are read', (t) => {
  const base64 = (value: string) => Buffer.from(value).toString('base64');
  const file = JSON.stringify({ le: { Account: {}, Certificates: [{ domain: { main: 'a.example.com', sans: ['b.example.com'] }, certificate: base64('chain'), key: base64('key'), Store: 'default' }, { domain: {} }] }, other: { Certificates: null } });
  t.deepEqual(readAcme(file), [{ main: 'a.example.com', names: ['a.example.com', 'b.example.com'], chain: 'chain', key: 'key' }]);
  t.is(readAcme('no JSON'), undefined);
});

test('files of variables are read as Compose reads them', (t) => {
  t.deepEqual(parseEnv('# no\nA=1\nexport B="two words" # note\nC=\'$x\'\nD=a#b # c\nE=\nnot a line\n'), { A: '1', B: 'two words', C: '$x', D: 'a#b', E: '' });
});

test('volumes have the names that Compose gives them', (t) => {
  t.is(volumeName('volumes: {a: }', 'blog', 'a'), 'blog_a');
  t.is(volumeName('volumes: {a: {name: x}}', 'blog', 'a'), 'x');
  t.is(volumeName('volumes: {a: {external: true}}', 'blog', 'a'), 'a');
});
