/** What labels of Traefik say of a service: its names, paths, port, and who may enter. */
export interface Routed {
  hosts: string[];
  /** Beginnings of paths that alone were routed to it. */
  paths: string[];
  port: number | undefined;
  /** Users and hashed passwords. */
  users: Record<string, string>;
  /** Labels that mean something else, by name. */
  others: string[];
}

const quoted = /[`"']([^`"']+)[`"']/g;

/**
 * Reads a service's labels, of Traefik 2 and 3.
 * @returns undefined when Traefik routes nothing to it
 */
export function readLabels(labels: Readonly<Record<string, string | null>>): Routed | undefined {
  const routed: Routed = { hosts: [], paths: [], port: undefined, users: {}, others: [] };
  if (labels['traefik.enable'] === 'false') return undefined;
  for (const [label, given] of Object.entries(labels)) {
    const [top, kind, part, name, ...rest] = label.toLowerCase().split('.');
    if (top !== 'traefik' || kind === 'enable' || kind === 'docker') continue;
    const value = given ?? '';
    const option = rest.join('.');
    if (kind === 'http' && part === 'routers' && name !== undefined && option === 'rule') readRule(value, label, routed);
    else if (kind === 'http' && part === 'services' && option === 'loadbalancer.server.port') routed.port = /^\d+$/.test(value) ? Number(value) : undefined;
    else if (kind === 'http' && part === 'middlewares' && option === 'basicauth.users') {
      for (const user of value.split(',')) {
        const [who = '', ...hash] = user.trim().split(':');
        if (who !== '' && hash.length > 0) routed.users[who] = hash.join(':');
      }
    } else if (!(part === 'routers' && /^(entrypoints|tls(\..*)?|service|middlewares)$/.test(option)) && !option.startsWith('redirectscheme.')) routed.others.push(label);
  }
  return routed.hosts.length > 0 ? { ...routed, hosts: [...new Set(routed.hosts)], paths: [...new Set(routed.paths)] } : undefined;
}

function readRule(rule: string, label: string, routed: Routed): void {
  for (const [whole, matcher = '', args = ''] of rule.matchAll(/!?\s*([A-Za-z]+)\(([^)]*)\)/g)) {
    const values = [...args.matchAll(quoted)].map(([, value = '']) => value);
    if (whole.startsWith('!')) routed.others.push(`${label}: ${whole}`);
    else if (matcher === 'Host') routed.hosts.push(...values.map((value) => value.toLowerCase()));
    else if (matcher === 'PathPrefix') routed.paths.push(...values);
    else routed.others.push(`${label}: ${whole}`);
  }
}

/** Certificates in Traefik's `acme.json`, by their main name. @returns undefined when it is not one */
export function readAcme(text: string): { main: string; names: string[]; chain: string; key: string }[] | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.values(value as Record<string, unknown>).flatMap((resolver) => {
    const certificates = (resolver as { Certificates?: unknown } | null)?.Certificates;
    return (Array.isArray(certificates) ? certificates as unknown[] : []).flatMap((each) => {
      const { domain, certificate, key } = each as { domain?: { main?: unknown; sans?: unknown }; certificate?: unknown; key?: unknown };
      if (typeof domain?.main !== 'string' || typeof certificate !== 'string' || typeof key !== 'string') return [];
      const others = Array.isArray(domain.sans) ? domain.sans.filter((name) => typeof name === 'string') : [];
      const decode = (base64: string) => Buffer.from(base64, 'base64').toString('utf8');
      return [{ main: domain.main, names: [domain.main, ...others], chain: decode(certificate), key: decode(key) }];
    });
  });
}
