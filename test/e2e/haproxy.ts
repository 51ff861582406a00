import { isRefusal, readCases } from '../lib/_cases.ts';
import { routedOf } from '../lib/_router.ts';
import { networkRange } from '../../lib/pure/addresses.ts';
import { router } from '../../lib/pure/names.ts';
import { routerPages } from '../../lib/pure/page.ts';
import { mapNames, mapText, masks, netKeys, parseMap, runtimeMaps } from '../../lib/pure/routes.ts';
import { guestTest, newestTest, type Guest } from './_guest.ts';

const root = '/tmp/haproxy-cases';

/** Puts files into the guest, all at once. */
async function put(guest: Guest, files: ReadonlyMap<string, string>): Promise<void> {
  const program = `
    const fs = await import('node:fs');
    for (const [file, content] of JSON.parse(fs.readFileSync(0, 'utf8'))) {
      fs.mkdirSync(file.replace(/\\/[^/]*$/, ''), { recursive: true });
      fs.writeFileSync(file, content);
    }`;
  const { code, stderr } = await guest.run(['node', '--input-type=module', '-e', program], { input: JSON.stringify([...files]) });
  if (code !== 0) throw new Error(stderr);
}

/** The pages, and what all configurations have in common. */
async function prepare(guest: Guest): Promise<void> {
  await guest.sh(`rm -rf ${root}`);
  await put(guest, new Map([...routerPages()].map(([name, content]) => [`${root}/pages/${name}`, content])));
  await guest.sh(`openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=example.com -keyout ${root}/key.pem -out ${root}/cert.pem 2>&1
    cat ${root}/cert.pem ${root}/key.pem > ${root}/both.pem`);
}

/** What a case makes of the router's files, in a directory of its own. */
function filesOf(directory: string, written: Parameters<typeof routedOf>[0]): Map<string, string> {
  const { config, users, maps, probes } = routedOf(written, { pages: `${root}/pages`, ipv6: true });
  const moved = (text: string) => text.replaceAll(router.config.replace(/\/[^/]*$/, ''), directory).replaceAll(/bind fd@(\d)/g, `bind unix@${directory}/fd-$1.sock`);
  return new Map([
    [`${directory}/haproxy.cfg`, moved(config)],
    [`${directory}/users.cfg`, users],
    [`${directory}/probes.lst`, probes.map((path) => `${path}\n`).join('')],
    [`${directory}/upstream-ca.pem`, ''],
    [`${directory}/adoptable.map`, '*.example.com adopt\n'],
    [`${directory}/certs.list`, `${root}/both.pem example.com\n`],
    ...mapNames.map((name) => [`${directory}/maps/${name}.map`, mapText(maps[name])] as const),
    ...runtimeMaps.map((name) => [`${directory}/maps/${name}.map`, ''] as const),
  ]);
}

/** Warnings that say how the configuration is meant: rules of one phase come before those of the next, and that option is for those who can use it. */
const meant = [/^\[WARNING\].* an? '[a-z-]+' rule placed after an? '[a-z_-]+' rule will still be processed before\.$/, /^\[WARNING\].* 'option idle-close-on-response' ignored for frontend 'fe_443' as it requires HTTP mode\.$/];

/** Whether HAProxy takes configurations, and what it has to say of them, by directory. */
async function verdicts(guest: Guest, directories: readonly string[]): Promise<Map<string, { taken: boolean; said: string[] }>> {
  const out = await guest.sh(`cd ${root}
    for directory in ${directories.map((each) => each.slice(root.length + 1)).join(' ')}; do
      cp cert.pem "$directory/upstream-ca.pem"
      code=0; text=$(haproxy -c -f "$directory/haproxy.cfg" -f "$directory/users.cfg" 2>&1) || code=$?
      printf '%s\\0%s\\0%s\\0' "$directory" "$code" "$text"
    done | base64 -w0`, { timeoutMs: 600_000 });
  const parts = Buffer.from(out, 'base64').toString().split('\0');
  return new Map(directories.map((directory, index) => {
    const [name = '', code = '', text = ''] = parts.slice(3 * index, 3 * index + 3);
    if (`${root}/${name}` !== directory) throw new Error(`an answer of ${name} instead of ${directory}`);
    const said = text.split('\n').filter((line) => /^\[(WARNING|ALERT)\]/.test(line) && !meant.some((each) => each.test(line)));
    return [directory, { taken: code === '0', said }];
  }));
}

const cases = (await readCases()).filter((each) => !isRefusal(each));

guestTest('HAProxy takes the configuration of every case, and warns of nothing', async (t, guest) => {
  await prepare(guest);
  const directories = new Map(cases.map((each, index) => [`${root}/${index}`, each]));
  await put(guest, new Map([...directories].flatMap(([directory, { written }]) => [...filesOf(directory, written)])));
  for (const [directory, verdict] of await verdicts(guest, [...directories.keys()])) t.deepEqual(verdict, { taken: true, said: [] }, directories.get(directory)?.name);
  t.true(directories.size > 80, `${directories.size} cases`);
});

guestTest('HAProxy refuses a configuration, a list of users and a map that are wrong', async (t, guest) => {
  await prepare(guest);
  const hash = '$6$abcdefgh$abcdefghijklmnopqrstuvwxyz0123456789./';
  const sound = (directory: string) => filesOf(directory, { site: `domain: example.com\nproxy: http://127.0.0.1:8080\nauth: {alice: ${hash}}\n` });
  const faults: Record<string, (files: Map<string, string>, directory: string) => void> = {
    sound: () => undefined,
    word: (files, directory) => files.set(`${directory}/haproxy.cfg`, (files.get(`${directory}/haproxy.cfg`) ?? '').replace('use_backend be_tls if', 'use_backend be_tls wenn')),
    backend: (files, directory) => files.set(`${directory}/haproxy.cfg`, (files.get(`${directory}/haproxy.cfg`) ?? '').replace('default_backend be_hold', 'default_backend be_nowhere')),
    map: (files, directory) => files.delete(`${directory}/maps/options.map`),
    user: (files, directory) => files.set(`${directory}/users.cfg`, `${files.get(`${directory}/users.cfg`) ?? ''}\tuser bob word\n`),
    page: (files, directory) => files.set(`${directory}/haproxy.cfg`, (files.get(`${directory}/haproxy.cfg`) ?? '').replaceAll('/404.html', '/missing.html')),
  };
  for (const [name, spoil] of Object.entries(faults)) {
    const files = sound(`${root}/${name}`);
    spoil(files, `${root}/${name}`);
    await put(guest, files);
  }
  for (const [directory, { taken, said }] of await verdicts(guest, Object.keys(faults).map((name) => `${root}/${name}`))) {
    t.is(taken, directory.endsWith('/sound'), directory);
    t.is(said.some((line) => line.startsWith('[ALERT]')), !taken, `${directory}: ${said.join(' ')}`);
  }
});

/** Runs a small HAProxy beside the router while something is asked. */
async function withProxy(guest: Guest, config: string, body: () => Promise<void>): Promise<void> {
  await put(guest, new Map([[`${root}/small.cfg`, `global\n\tstats socket ${root}/small.sock level admin\ndefaults\n\tmode http\n\ttimeout connect 5s\n\ttimeout client 5s\n\ttimeout server 5s\n${config}`]]));
  await guest.sh(`haproxy -D -p ${root}/small.pid -f ${root}/small.cfg`);
  try {
    await body();
  } finally {
    await guest.sh(`kill "$(cat ${root}/small.pid)"`);
  }
}

newestTest('HAProxy reads from the maps of all cases what was written to them', async (t, guest) => {
  await prepare(guest);
  const files = new Map(cases.flatMap(({ written }, index) => mapNames.map((name) => [`${root}/${index}-${name}.map`, mapText(routedOf(written).maps[name])] as const)));
  await put(guest, files);
  const lines = [...files.keys()].map((file, index) => `\thttp-request set-var(txn.v${index}) str(x),map_str(${file})\n`);
  await withProxy(guest, `listen small\n\tbind unix@${root}/http.sock\n${lines.join('')}`, async () => {
    const shown = await guest.sh(`cd ${root}; for file in *.map; do printf '%s\\n' "== $file"; echo "show map ${root}/$file" | socat - UNIX-CONNECT:small.sock; done`, { timeoutMs: 300_000 });
    const blocks = new Map(shown.split(/^== /m).slice(1).map((block) => [block.slice(0, block.indexOf('\n')), block.slice(block.indexOf('\n') + 1)]));
    t.is(blocks.size, files.size);
    for (const [file, text] of files) {
      // An internal number comes before each key.
      const read = (blocks.get(file.slice(root.length + 1)) ?? '').split('\n').filter((line) => line.startsWith('0x')).map((line) => line.slice(line.indexOf(' ') + 1));
      t.deepEqual(parseMap(read.map((line) => `${line}\n`).join('')), parseMap(text), file);
    }
  });
});

/** Ranges, and visitors that are in them or not. */
const visitors: Record<string, { inside: string[]; outside: string[] }> = {
  '0.0.0.0/0': { inside: ['127.0.0.1', '255.255.255.255', '1.2.3.4'], outside: ['2001:db8::1', 'fe80::1'] },
  '10.0.0.0/8': { inside: ['10.0.0.0', '10.255.255.255'], outside: ['9.255.255.255', '11.0.0.0', '::ffff:0:a00:1'] },
  '172.16.0.0/13': { inside: ['172.16.0.1', '172.23.255.255'], outside: ['172.24.0.0', '172.15.255.255'] },
  '192.0.2.64/27': { inside: ['192.0.2.64', '192.0.2.95'], outside: ['192.0.2.63', '192.0.2.96'] },
  '192.0.2.7/32': { inside: ['192.0.2.7'], outside: ['192.0.2.6', '192.0.2.8'] },
  '::/0': { inside: ['2001:db8::1', 'fe80::1', '64:ff9b::192.0.2.1', '1::'], outside: ['192.0.2.7', '10.0.0.1'] },
  '::1/128': { inside: ['::1'], outside: ['::2', '1::1', '127.0.0.1'] },
  '2001:db8::/32': { inside: ['2001:db8::', '2001:db8:ffff::1'], outside: ['2001:db9::', '2001:db7:ffff::'] },
  '2001:db8:1::/47': { inside: ['2001:db8:0:1::1', '2001:db8:1:ffff::'], outside: ['2001:db8:2::'] },
  '2001:db8:0:1::/64': { inside: ['2001:db8:0:1::', '2001:db8:0:1:ffff:ffff:ffff:ffff'], outside: ['2001:db8::', '2001:db8:0:2::'] },
  '2001:db8::1:0:0:0/81': { inside: ['2001:db8:0:0:1:7fff::'], outside: ['2001:db8:0:0:1:8000::'] },
  '2001:0:0:1::/64': { inside: ['2001:0:0:1:0:0:0:1'], outside: ['2001::1'] },
  '2001:db8:0:1:1:1:1:1/128': { inside: ['2001:db8:0:1:1:1:1:1'], outside: ['2001:db8::1:1:1:1:2'] },
  '0:0:1::1:1:1/128': { inside: ['0:0:1::1:1:1'], outside: ['0:0:1:0:0:1:1:2'] },
  '1:0:0:2:3:0:0:4/128': { inside: ['1:0:0:2:3::4'], outside: ['1::2:3:0:0:5'] },
  'fe80::/10': { inside: ['fe80::1', 'febf::'], outside: ['fec0::', 'fe7f::'] },
};

guestTest('a range of addresses is found in a map by who is in it, and by nobody else', async (t, guest) => {
  await prepare(guest);
  const values = masks.map(({ four, six }) => `%[src,ipmask(${four},${six})]`).join(' ');
  const all = [...new Set(Object.values(visitors).flatMap(({ inside, outside }) => [...inside, ...outside]))];
  // They come from anywhere by the PROXY protocol.
  const asking = String.raw`
    const [net, fs] = await Promise.all([import('node:net'), import('node:fs')]);
    const ask = (address) => new Promise((resolve, reject) => {
      const socket = net.connect('${root}/http.sock');
      const family = address.includes(':') ? 6 : 4;
      let answer = '';
      socket.setEncoding('utf8').on('data', (chunk) => { answer += chunk; }).on('error', reject).on('end', () => resolve(answer.split('\r\n\r\n')[1]));
      socket.write('PROXY TCP' + family + ' ' + address + ' ' + (family === 6 ? '::1' : '127.0.0.1') + ' 1000 80\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    });
    const answers = [];
    for (const address of JSON.parse(fs.readFileSync(0, 'utf8'))) answers.push(await ask(address));
    console.log(JSON.stringify(answers));`;
  await withProxy(guest, `listen small\n\tbind unix@${root}/http.sock accept-proxy\n\thttp-request return status 200 content-type text/plain lf-string "${values}"\n`, async () => {
    const { stdout, stderr } = await guest.run(['node', '--input-type=module', '-e', asking], { input: JSON.stringify(all) });
    const answers = new Map((JSON.parse(stdout === '' ? '[]' : stdout) as string[]).map((answer, index) => [all[index], answer.split(' ')]));
    t.is(answers.size, all.length, stderr);
    for (const [range, { inside, outside }] of Object.entries(visitors)) {
      const keys = netKeys(networkRange(range) ?? '');
      const isFound = (visitor: string) => (answers.get(visitor) ?? []).some((network, index) => keys.includes(`${network}_${index}`));
      t.deepEqual(inside.filter((visitor) => !isFound(visitor)), [], `${range}: inside`);
      t.deepEqual(outside.filter((visitor) => isFound(visitor)), [], `${range}: outside`);
    }
  });
});
