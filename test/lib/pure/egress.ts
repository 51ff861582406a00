import test from 'ava';
import { formatPlace, parsePlace } from '../../../lib/pure/egress.ts';
import { formatEgress } from '../../../lib/pure/egress-names.ts';
import { describeRefused, differs, dueNames, isSameRules, learnName, parseEgress, parseEgressTable, renderEgress, replaceEgress, withdrawEgress, type EgressState } from '../../../lib/pure/egress-rules.ts';
import { resolversIn } from '../../../lib/pure/hosts.ts';
import { parseDefaults, parseSite } from '../../../lib/pure/config.ts';
import { describeStep, diffRemoved, diffSite, type Actual } from '../../../lib/pure/diff.ts';
import { paths } from '../../../lib/pure/names.ts';
import { desiredOf } from '../_site.ts';

const shown = (text: string) => {
  const place = parsePlace(text);
  return typeof place === 'string' ? `error: ${place}` : formatPlace(place);
};

test('places are read in all their forms, and shown in one', (t) => {
  for (const [text, form] of [
    ['api.example.com', 'api.example.com'], ['API.Example.com:443', 'api.example.com:443'], ['bücher.example:80', 'xn--bcher-kva.example:80'],
    ['example.com:8000-8999/udp', 'example.com:8000-8999/udp'], ['example.com/udp', 'example.com/udp'], ['example.com:443/tcp', 'example.com:443'],
    ['192.0.2.7', '192.0.2.7'], ['192.0.2.7/24:443', '192.0.2.0/24:443'], ['10.0.0.0/8', '10.0.0.0/8'], ['0.0.0.0/0:443', '0.0.0.0/0:443'], ['10.0.0.0/8/udp', '10.0.0.0/8/udp'],
    ['2001:db8::1', '2001:db8::1'], ['[2001:DB8::1]:443', '[2001:db8::1]:443'], ['[2001:db8::/32]:53/udp', '[2001:db8::/32]:53/udp'], ['2001:db8::/32', '2001:db8::/32'], ['[2001:db8::1]', '2001:db8::1'],
    ['example.com:70-70', 'example.com:70'],
  ] as const) {
    t.is(shown(text), form);
    t.is(shown(form), form, 'and read again');
  }
});

test('what is no place says what to write', (t) => {
  for (const [text, fault] of [
    ['', /is not a place: write host, host:443/], ['https://example.com', /is not a place/], ['exa mple.com', /is not a place/], ['example.com:', /is not a place/], ['example.com:http', /is not a place/],
    ['example.com:443/icmp', /is not a place/], ['192.0.2.0/33', /is not a place/], ['[example.com]:443', /is not a place/], ['300.1.1.1:80', /is not a place/], ['a"b', /is not a place/], ['a;b', /is not a place/],
    ['example.com:0', /no such port/], ['example.com:65536', /no such port/], ['example.com:90-80', /lower one first/],
    ['*.example.com:443', /write each name/], ['127.0.0.1:25', /this machine itself/], ['169.254.169.254', /other rules/], ['[::1]:80', /this machine itself/],
  ] as const) t.regex(shown(text), fault, text);
});

test('settings with a fault are refused with one line, and say where', (t) => {
  const refused = (text: string) => t.throws(() => parseSite(`domain: example.com\n${text}`, `${paths.sitesDir}/example.com.yaml`)).message.replaceAll(`${paths.sitesDir}/`, '');
  t.is(refused('egress: some\n'), 'example.com.yaml:2: egress: "some" is neither any nor none, nor a list of places such as [api.example.com:443, 192.0.2.0/24]');
  t.regex(refused('egress: [a.example.com, "b.example.com:x"]\n'), /^example\.com\.yaml:2: egress\.1: "b\.example\.com:x" is not a place: [^\n]*$/);
  t.regex(refused('egress: []\n'), /^example\.com\.yaml:2: egress: [^\n]*is empty: write none$/);
  t.is(refused('static: www\negress: none\n'), 'example.com.yaml:3: egress: "none" belongs to a container, and static has none: take it out');
  t.regex(t.throws(() => parseDefaults('defaults: {egress: [1]}', 'sitegen.yaml')).message, /^sitegen\.yaml:1: defaults\.egress\.0: 1 is of the wrong type; allowed: text$/);
});

const specOf = (site: string, defaults = '') => desiredOf({ site: `domain: example.com\n${site}`, defaults }).egress;

test('the machine\'s default holds for a site that says nothing, and each kind is known by what it sends from', (t) => {
  t.is(specOf('image: x\n'), undefined);
  t.is(specOf('image: x\negress: any\n', 'defaults: {egress: none}'), undefined);
  t.deepEqual(specOf('image: x\n', 'defaults: {egress: none}')?.places, []);
  t.is(specOf('static: www\n', 'defaults: {egress: none}'), undefined);
  t.regex(specOf('image: x\negress: none\n')?.sources.address ?? '', /^10\.214\./);
  t.regex(specOf('process: {command: [/bin/x]}\negress: none\n')?.sources.user ?? '', /^sg-example-com-/);
  const compose = (more = '', top = '') => `egress: none\ncompose:\n  entrypoint: web:80\n  allow: [host-network, external-networks, capabilities, privileged]\n  project: {services: {web: {image: x}, worker: {image: x${more}}}${top}}\n`;
  const { address = '', bridges = [] } = specOf(compose())?.sources ?? {};
  t.regex(`${address} ${bridges.join(' ')}`, /^10\.214\.\S+ sgp-[0-9a-f]+$/);
  for (const [more, top, why] of [
    [', network_mode: host', '', /service worker cannot be kept to a list, as it has the network of this machine/],
    [', networks: [theirs]', ', networks: {theirs: {external: true}}', /a network of somebody else/],
    [', cap_add: [NET_RAW]', '', /with NET_RAW it can send as another/], [', privileged: true', '', /with privileged it can send/],
  ] as const) {
    t.regex(t.throws(() => specOf(compose(more, top))).message, why);
    t.notThrows(() => specOf(compose(more, top).replace('none', 'any')));
  }
});

const state = (more: Partial<EgressState> = {}): EgressState => ({ domain: 'example.com', sources: { address: '10.214.1.2', bridges: [] }, places: ['192.0.2.0/24:443', 'a.example:8000-8999/udp', '2001:db8::/32'], names: { 'a.example': { seen: { '192.0.2.9': 5, '2001:db8::9': 5 }, dueAt: 9 } }, resolvers: ['192.0.2.53', '2001:db8::53'], ...more });
const rulesIn = (text: string) => (/\tchain egress_\S+ \{\n((?:\t\t.*\n)+)\t\}/.exec(text)?.[1] ?? '').split('\n').map((line) => line.trim()).filter((line) => line !== '');

test('a site\'s rules have its places in both families, and name servers only where names are among them', (t) => {
  const refused = ['counter name egress_example.com', 'meta l4proto { tcp, udp } update @refused4_example.com { ip daddr . meta l4proto . th dport }', 'meta l4proto { tcp, udp } update @refused6_example.com { ip6 daddr . meta l4proto . th dport }', 'goto egress_refused'];
  t.deepEqual(rulesIn(renderEgress('example.com', state())), [
    'ip daddr 192.0.2.53 meta l4proto { tcp, udp } th dport 53 accept', 'ip6 daddr 2001:db8::53 meta l4proto { tcp, udp } th dport 53 accept',
    'ip daddr 192.0.2.0/24 tcp dport 443 accept', 'ip daddr 192.0.2.9 udp dport 8000-8999 accept', 'ip6 daddr 2001:db8::9 udp dport 8000-8999 accept', 'ip6 daddr 2001:db8::/32 meta l4proto tcp accept', ...refused]);
  t.deepEqual(rulesIn(renderEgress('example.com', state({ places: [], names: {} }))), refused);
  t.deepEqual(rulesIn(renderEgress('example.com', state({ places: [], names: {}, sources: { user: 'sg-x' }, uid: 61_200 }))).slice(0, 2), ['oifname "lo" meta l4proto { tcp, udp } th dport != 53 accept', 'oifname "lo" meta l4proto != { tcp, udp } accept']);
  t.is(rulesIn(renderEgress('example.com', state({ sources: { user: 'sg-x' }, uid: 61_200 })))[0], 'oifname "lo" accept');
  t.is(rulesIn(renderEgress('example.com', state({ sources: { address: '10.214.1.2', bridges: ['sgp-1'] } })))[0], 'oifname "sgp-1" accept');
});

test('a file of rules says what it was made of, and what goes is taken out of the maps', (t) => {
  const text = renderEgress('example.com', state());
  t.deepEqual(parseEgress(text), state());
  t.is(parseEgress('# {"domain"'), undefined);
  t.is(parseEgress(undefined), undefined);
  const moved = renderEgress('example.com', state({ sources: { address: '10.214.9.9', bridges: [] } }));
  const element = 'element inet sitegen egress_addresses { 10.214.1.2 : goto egress_example.com }';
  t.is(replaceEgress(text, moved), `${moved}\nadd ${element}\ndelete ${element}\n`);
  t.is(replaceEgress(text, text).trim(), text.trim());
  t.true(withdrawEgress('example.com', text).endsWith(`delete ${element}\nflush chain inet sitegen egress_example.com\ndelete chain inet sitegen egress_example.com\ndelete counter inet sitegen egress_example.com\ndelete set inet sitegen refused4_example.com\ndelete set inet sitegen refused6_example.com\n`));
  t.true(isSameRules(renderEgress('example.com', state({ names: { 'a.example': { seen: { '192.0.2.9': 7, '2001:db8::9': 7 }, dueAt: 99 } } })), text));
  t.false(isSameRules(moved, text));
});

test('an address that a name had stays allowed for an hour, and a silent server takes none away', (t) => {
  const first = learnName(undefined, { addresses: ['192.0.2.1', 'fe80::1%eth0'], ttl: 60 }, 1000);
  t.deepEqual(first, { seen: { '192.0.2.1': 1000 }, dueAt: 61_000 });
  const second = learnName(first, { addresses: ['192.0.2.2'], ttl: 86_400 }, 61_000);
  t.deepEqual(second, { seen: { '192.0.2.1': 1000, '192.0.2.2': 61_000 }, dueAt: 661_000 });
  t.deepEqual(learnName(second, undefined, 661_000), { seen: second.seen, dueAt: 676_000 });
  t.deepEqual(Object.keys(learnName(second, { addresses: ['192.0.2.2'], ttl: 0 }, 3_601_000).seen), ['192.0.2.2']);
  t.deepEqual(Object.keys(learnName(second, { addresses: [], ttl: 30 }, 9_000_000).seen), []);
});

test('names are asked for when what is known is too old, or from a time to come', (t) => {
  const names = { 'a.example': { seen: {}, dueAt: 1000 } };
  t.deepEqual(dueNames({ places: ['a.example:1', 'a.example:2', 'b.example', '192.0.2.1'], names }, 999), ['b.example']);
  t.deepEqual(dueNames({ places: ['a.example:1'], names }, 1000), ['a.example']);
  t.deepEqual(dueNames({ places: ['a.example:1'], names: { 'a.example': { seen: {}, dueAt: 9_000_000 } } }, 1000), ['a.example']);
});

test('the table tells what was blocked, and whose rules are in force', (t) => {
  const listed = parseEgressTable(`table inet sitegen {
	map egress_addresses {
		type ipv4_addr : verdict
		elements = { 10.214.1.2 : goto egress_example.com, 10.214.1.3 : goto egress_two.example.com }
	}

	set refused4_example.com {
		type ipv4_addr . inet_proto . inet_service
		size 64
		flags dynamic
		counter
		elements = { 192.0.2.2 . tcp . 8081 counter packets 2 bytes 120,
			     192.0.2.3 . udp . 53 counter packets 9 bytes 540 }
	}

	set refused6_example.com {
		elements = { 2001:db8::1 . tcp . 443 counter packets 1 bytes 80 }
	}

	set refused4_two.example.com {
		size 64
	}

	chain egress_example.com {
		counter name "egress_example.com"
	}
}
`);
  t.deepEqual([...listed.inForce], ['example.com']);
  t.deepEqual([...listed.refused.keys()], ['example.com']);
  t.is(describeRefused(listed.refused.get('example.com') ?? []), 'egress: blocked 12 packets to 192.0.2.3:53/udp (9), 192.0.2.2:8081 (2), [2001:db8::1]:443 (1)');
  t.regex(describeRefused(Array.from({ length: 20 }, (_, port) => ({ place: `192.0.2.1:${port}`, packets: 1 }))), /^egress: blocked 20 packets to .*, and to 12 more places$/);
});

test('name servers are those that are not on this machine', (t) => {
  t.deepEqual(resolversIn('# nameserver 192.0.2.9\nnameserver 192.0.2.53\nnameserver 127.0.0.53\n nameserver fe80::1%eth0\nnameserver ::1\noptions edns0\n'), ['192.0.2.53', 'fe80::1']);
});

test('a change is one step, which stops nothing, and a site that is gone loses its rules', (t) => {
  const [before, want] = ['egress: [192.0.2.1:443]\n', 'egress: none\n'].map((more) => desiredOf({ site: `domain: example.com\nimage: x\n${more}` }));
  if (!before?.egress || !want?.egress) throw new Error('both have a list');
  const text = renderEgress('example.com', { ...before.egress, names: {}, resolvers: [] });
  const actual = (site: typeof want, egress: string): Actual => ({
    files: new Map(site.files.map(({ path, content }) => [path, content])), units: new Map([[site.names.socket, 'active'], [site.names.service, 'active']]), enabled: new Set([site.names.socket]),
    containers: new Map([[site.names.container, { specHash: site.spec ?? '', domain: 'example.com', running: true }]]), egress: new Map([['example.com', egress]]), directories: new Set(site.dataDirs),
  });
  t.deepEqual(diffSite(want, actual(want, text)).map((step) => describeStep(step)), ['egress: none instead of 192.0.2.1:443']);
  t.deepEqual(diffSite(before, actual(before, text)), []);
  t.deepEqual(diffSite(before, actual(before, `${text}# more\n`)).map((step) => describeStep(step)), ['write the rules of egress anew (192.0.2.1:443)']);
  t.true(differs('example.com', undefined, text));
  t.is(diffRemoved('example.com', { ...actual(want, text), files: new Map(), units: new Map(), enabled: new Set(), containers: new Map() }).map((step) => describeStep(step)).join(), 'egress: any instead of 192.0.2.1:443');
  t.is(formatEgress(want.egress.places), 'none');
});
