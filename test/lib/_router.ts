import { readFile } from 'node:fs/promises';
import { addressAt, chooseOffset } from '../../lib/pure/addresses.ts';
import { parseDefaults } from '../../lib/pure/config.ts';
import { wwwCounterpart } from '../../lib/pure/entry.ts';
import { builtInRouter, routerConfig, usersConfig } from '../../lib/pure/haproxy.ts';
import { paths } from '../../lib/pure/names.ts';
import { entriesOf, type MapEntries } from '../../lib/pure/routes.ts';
import type { DefaultsFile } from '../../lib/pure/schema.ts';
import { hasAddress, rangesOf, type Site } from '../../lib/pure/site.ts';
import { repository, resolveTexts, type Written } from './_site.ts';

const [template, logFormat] = await Promise.all(['haproxy.cfg.mustache', 'log-format.txt'].map((name) => readFile(`${repository}/templates/router/${name}`, 'utf8')));

/** Everything that the router reads, on a machine with one site. */
export interface Routed {
  defaults: DefaultsFile;
  site: Site;
  config: string;
  users: string;
  maps: MapEntries;
  probes: readonly string[];
}

/** The configuration by itself. */
export function configOf(settings: DefaultsFile['router'], headers: Iterable<string> = [], { pages = '/pages', ipv6 = true, nameservers = ['127.0.0.53'] } = {}): string {
  return routerConfig(template ?? '', (logFormat ?? '').trim(), settings, headers, { pages, ipv6, nameservers });
}

/** What settings make of the router, put together as all commands do. */
export function routedOf(written: Written, options?: Parameters<typeof configOf>[2]): Routed {
  const defaults = parseDefaults(written.defaults ?? '', paths.defaultsFile);
  const site = resolveTexts(written);
  const maps = mapsOf(site, defaults);
  const names = [...maps.headers.keys()].map((key) => key.slice(key.indexOf('|') + 1));
  return {
    defaults,
    site,
    maps,
    config: configOf(defaults.router, names, options),
    users: usersConfig(new Map(site.entry.users.map(({ name, hash }) => [`${site.domain}/${name}`, hash]))),
    probes: defaults.router?.probes ?? builtInRouter.probes,
  };
}

/** A site's entries, at the address of its domain's own hash. */
export function mapsOf(site: Site, defaults: DefaultsFile = {}): MapEntries {
  const ranges = rangesOf(defaults);
  const { offset } = chooseOffset(site.domain, ranges, new Set());
  const other = site.entry.www === 'none' ? undefined : wwwCounterpart(site.domain);
  const named = [site.domain, ...site.aliases, ...site.redirects];
  return entriesOf(site, hasAddress(site) ? addressAt(offset, ranges).site : '', other !== undefined && !named.includes(other) ? other : undefined);
}
