import type { Guest } from '../../test/e2e/_lab.ts';
import { figures, ratio } from './figures.ts';
import { loadOf } from './load.ts';

const rounds = Number(process.env['ROUNDS'] ?? 9);
const seconds = Number(process.env['SECONDS_EACH'] ?? 3);

const domain = 'awake.example.com';
const dir = '/run/bench-awake';
const pem = '/var/lib/sitegen/router/certs/self-signed_.pem';
const ports = { toSite: 8701, toContainer: 8702, tlsToSite: 8711, tlsToContainer: 8712 };

/** The container is nginx in one process, which keeps connections as the router does. */
const nginx = `daemon off; master_process off; pid /nginx.pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; keepalive_requests 100000000; open_file_cache max=10 inactive=1h;
  client_body_temp_path /t; proxy_temp_path /t; fastcgi_temp_path /t; uwsgi_temp_path /t; scgi_temp_path /t;
  server { listen 80 backlog=8192; default_type text/plain; root /www; location = / { return 200; } location = /1k { return 200 ${'x'.repeat(1024)}; } }
}
`;

/** What one would write by hand for one backend: twice the same, but for the backend's address. */
const haproxy = (site: string, container: string) => `global
  maxconn 8000
  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
${[['site', site, ports.toSite, ports.tlsToSite] as const, ['container', container, ports.toContainer, ports.tlsToContainer] as const].map(([name, address, plain, tls]) => `frontend ${name}
  bind 127.0.0.1:${plain} backlog 8192
  bind 127.0.0.1:${tls} backlog 8192 ssl crt ${pem} alpn h2,http/1.1
  http-request set-header X-Forwarded-For %[src]
  default_backend ${name}
backend ${name}
  server app ${address}:80
`).join('')}`;

/** One load, over the way by the map and over the one that it is compared with. */
interface Pair {
  title: string;
  ways: readonly [string, string];
  commands: readonly [string, string];
}

const wrk = (url: string) => `wrk -t 2 -c 32 -d ${seconds} ${url}`;
const streams = (url: string) => `h2load -D ${seconds} -c 8 -m 50 -t 2 ${url}`;

function pairs(site: string, container: string): Pair[] {
  const tls = (port: number) => `https://${domain}:${port}`;
  const [map, straight] = ['HAProxy to the site\'s address', 'HAProxy to the container'];
  return [
    ...(['1k', '100k'] as const).flatMap((size): Pair[] => [
      { title: `${size}B, no proxy`, ways: ['to the site\'s address', 'to the container'], commands: [wrk(`http://${site}/${size}`), wrk(`http://${container}/${size}`)] },
      { title: `${size}B, the same HAProxy`, ways: [map, straight], commands: [wrk(`http://127.0.0.1:${ports.toSite}/${size}`), wrk(`http://127.0.0.1:${ports.toContainer}/${size}`)] },
      { title: `${size}B over TLS`, ways: ['sitegen\'s router', straight], commands: [wrk(`${tls(443)}/${size}`), wrk(`${tls(ports.tlsToContainer)}/${size}`)] },
    ]),
    { title: '1kB over h2, 8 connections of 50 streams, the same HAProxy', ways: [map, straight], commands: [streams(`${tls(ports.tlsToSite)}/1k`), streams(`${tls(ports.tlsToContainer)}/1k`)] },
    { title: '1kB over h2, 8 connections of 50 streams', ways: ['sitegen\'s router', straight], commands: [streams(`${tls(443)}/1k`), streams(`${tls(ports.tlsToContainer)}/1k`)] },
  ];
}

/** Requests a second to an awake site: through the kernel's map, and straight to its container. */
export async function benchAwake(guest: Guest): Promise<void> {
  const settings = '/etc/sitegen/sitegen.yaml';
  await buildNginx(guest);
  await guest.sh(`cp ${settings} /tmp/sitegen.yaml.before; echo 'router: {log: off}' >${settings}`);
  try {
    const site = await guest.site(domain, '--image', 'bench/nginx:1');
    await guest.sh(`printf 'idle: {never: true}\\nbackup: false\\n' >>/etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet; sitegen start --quiet ${domain}
      grep -q ${domain} /etc/hosts || echo 127.0.0.1 ${domain} >>/etc/hosts`);
    const { containerAddress: container } = await guest.status(domain);
    await startHaproxy(guest, site, container);
    await guest.sh(`nft get element inet sitegen awake "{ ${site} . 80 }" >/dev/null`);
    const all = pairs(site, container);
    console.log(`an awake site, ${rounds} rounds, in turns, none of them with a log of requests:`);
    const rates = new Map(all.map(({ title }) => [title, [[], []] as [number[], number[]]]));
    for (let round = -1; round < rounds; round++) {
      for (const { title, commands } of all) {
        // Whichever comes second meets warmer caches, so they change places.
        for (const which of round % 2 === 0 ? [0, 1] as const : [1, 0] as const) {
          const rate = await loadOf(guest, commands[which]);
          if (round >= 0) rates.get(title)?.[which].push(rate);
        }
      }
    }
    for (const { title, ways } of all) {
      const [ours, theirs] = rates.get(title) ?? [[], []];
      console.log(`${title}:`);
      figures(ways[0], ours, 'requests/s');
      figures(ways[1], theirs, 'requests/s');
      ratio('the first ÷ the second', ours, theirs);
    }
  } finally {
    await guest.sh(`systemctl --quiet stop bench-awake-haproxy || true; rm -rf ${dir}; cp /tmp/sitegen.yaml.before ${settings}; sitegen apply --quiet; sitegen remove --purge -yq ${domain} || true`);
  }
}

/** An image of the guest's own nginx, as no registry can be reached. */
async function buildNginx(guest: Guest): Promise<void> {
  await guest.sh(`
    root=$(mktemp -d); mkdir -p $root/{etc,t,www,var/log/nginx,var/lib/nginx}
    for file in /usr/sbin/nginx $(ldd /usr/sbin/nginx | grep -o '/[^ )]*'); do mkdir -p "$root$(dirname $file)"; cp -L $file "$root$file"; done
    head -c 102400 /dev/zero >$root/www/100k
    printf 'root:x:0:0::/:/bin/false\\nnobody:x:65534:65534::/:/bin/false\\n' >$root/etc/passwd; printf 'root:x:0:\\nnogroup:x:65534:\\n' >$root/etc/group
    base64 -d >$root/etc/nginx.conf <<<'${Buffer.from(nginx).toString('base64')}'
    tar -C $root -c . | docker import -c 'CMD ["/usr/sbin/nginx","-c","/etc/nginx.conf"]' -c 'STOPSIGNAL SIGQUIT' - bench/nginx:1 >/dev/null
    rm -rf $root`);
}

async function startHaproxy(guest: Guest, site: string, container: string): Promise<void> {
  await guest.sh(`install -d ${dir}`);
  await guest.run(['sh', '-c', `cat >${dir}/haproxy.cfg`], { input: haproxy(site, container) });
  await guest.sh(`systemd-run --quiet --unit=bench-awake-haproxy --property=LimitNOFILE=65536 haproxy -Ws -f ${dir}/haproxy.cfg
    for port in ${Object.values(ports).join(' ')}; do
      scheme=http; [ $port -lt 8710 ] || scheme=https
      for i in $(seq 100); do ! curl -sfko /dev/null $scheme://${domain}:$port/1k || continue 2; sleep 0.1; done; exit 1
    done`);
}
