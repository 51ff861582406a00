import type { Guest } from '../../test/e2e/_lab.ts';

/** Name that every request asks for; the certificate is the router's self-signed one, ECDSA P-256. */
export const domain = 'bench.example.com';
export const upstreamPort = 9000;

/** One way from a visitor to the upstream. */
export interface Way {
  name: string;
  port: number;
  /** Units whose processes make it up. */
  units: readonly string[];
}

export const ways = {
  sitegen: { name: 'sitegen', port: 443, units: ['sitegen-router.service'] },
  nginx: { name: 'two nginx in series', port: 8443, units: ['bench-nginx-stream.service', 'bench-nginx-http.service'] },
  caddy: { name: 'Caddy', port: 8543, units: ['bench-caddy.service'] },
  haproxy: { name: 'HAProxy, one backend', port: 8643, units: ['bench-haproxy.service'] },
} as const satisfies Record<string, Way>;

const dir = '/run/bench';
const pem = '/var/lib/sitegen/router/certs/self-signed_.pem';
const suites = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

const nginxHead = (name: string) => `
user www-data;
daemon off;
worker_processes auto;
worker_rlimit_nofile 65536;
pid ${dir}/${name}.pid;
error_log stderr crit;
include /etc/nginx/modules-enabled/*.conf;
events { worker_connections 16384; }
`;

/** Their files by name. @param log whether each request is told to the journal, as the router does */
const files = (log: boolean): Record<string, string> => ({
  'upstream.conf': `${nginxHead('upstream')}
http {
  access_log off;
  keepalive_requests 100000000;
  open_file_cache max=10 inactive=1h;
  sendfile on;
  server {
    listen 127.0.0.1:${upstreamPort} backlog=8192;
    default_type application/octet-stream;
    location = /1k { return 200 ${'x'.repeat(1024)}; }
    location / { root ${dir}/www; }
  }
}
`,
  // The usual way to share port 443 by name: peek at the hello, then end TLS behind it.
  'stream.conf': `${nginxHead('stream')}
stream {
  map $ssl_preread_server_name $chosen { ${domain} unix:${dir}/tls.sock; default unix:${dir}/nobody.sock; }
  server {
    listen 127.0.0.1:${ways.nginx.port} backlog=8192;
    ssl_preread on;
    proxy_protocol on;
    proxy_pass $chosen;
  }
}
`,
  'http.conf': `${nginxHead('http')}
http {
  access_log ${log ? 'syslog:server=unix:/run/systemd/journal/dev-log,nohostname' : 'off'};
  # HAProxy has no such limit.
  keepalive_requests 100000000;
  upstream app { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 100000000; }
  server {
    listen unix:${dir}/tls.sock ssl proxy_protocol backlog=8192;
    http2 on;
    server_name ${domain};
    ssl_certificate ${pem};
    ssl_certificate_key ${pem};
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_conf_command Ciphersuites ${suites};
    # As HAProxy has it unless told otherwise.
    ssl_session_cache shared:tls:4m;
    ssl_session_tickets off;
    set_real_ip_from unix:;
    real_ip_header proxy_protocol;
    location / {
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto https;
      proxy_pass http://app;
    }
  }
}
`,
  Caddyfile: `{
  admin off
  auto_https off
}
https://${domain}:${ways.caddy.port} {
  bind 127.0.0.1
  tls ${dir}/bench.pem ${dir}/bench.pem
  reverse_proxy 127.0.0.1:${upstreamPort}
${log ? '  log\n' : ''}}
`,
  'haproxy.cfg': `global
  maxconn 8000
${log ? '  log /run/systemd/journal/dev-log local0 info\n' : ''}  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
  ssl-default-bind-ciphersuites ${suites}
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
${log ? '  log global\n  option httplog\n' : ''}frontend tls
  bind 127.0.0.1:${ways.haproxy.port} backlog 8192 ssl crt ${pem} alpn h2,http/1.1
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Proto https
  default_backend app
backend app
  server app 127.0.0.1:${upstreamPort}
`,
});

const commands: Record<string, string> = {
  'bench-upstream': `nginx -c ${dir}/upstream.conf`,
  'bench-nginx-http': `nginx -c ${dir}/http.conf`,
  'bench-nginx-stream': `nginx -c ${dir}/stream.conf`,
  'bench-caddy': `caddy run --config ${dir}/Caddyfile`,
  'bench-haproxy': `haproxy -Ws -f ${dir}/haproxy.cfg`,
};

/** Starts the upstream and the peers, each on its own port. */
export async function startPeers(guest: Guest, log: boolean): Promise<void> {
  await guest.sh(`install -d ${dir}/www; install -m 644 ${pem} ${dir}/bench.pem; head -c 102400 /dev/zero > ${dir}/www/100k; grep -q ${domain} /etc/hosts || echo "127.0.0.1 ${domain}" >> /etc/hosts`);
  for (const [name, text] of Object.entries(files(log))) await guest.run(['sh', '-c', `cat > ${dir}/${name}`], { input: text });
  for (const [unit, command] of Object.entries(commands)) {
    await guest.sh(`systemd-run --quiet --unit=${unit} --property=LimitNOFILE=65536 --property=LogRateLimitIntervalSec=0 --setenv=HOME=${dir} ${command}`);
  }
  for (const { port } of Object.values(ways)) {
    await guest.sh(`for i in $(seq 100); do curl -sko /dev/null https://${domain}:${port}/1k && exit 0; sleep 0.1; done; exit 1`);
  }
}

/** Ends what `startPeers` started. */
export async function stopPeers(guest: Guest): Promise<void> {
  await guest.sh(`systemctl --quiet stop ${Object.keys(commands).join(' ')}; rm -rf ${dir}`);
}
