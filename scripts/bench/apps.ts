import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { ensureGhostApp } from '../../test/e2e/_ghost.ts';
import { ensureGhostBase, ensureWordpressBase } from '../../test/e2e/_images.ts';
import type { Guest } from '../../test/e2e/_lab.ts';
import { at, figures, ratio } from './figures.ts';

const rounds = Number(process.env['ROUNDS'] ?? 5);
const phases = ['wait', 'create', 'start', 'ready'] as const;

/** What can be had without a registry, and how it comes to stand before the catalogue's, where it is built on packages. */
const apps: Readonly<Record<string, ((guest: Guest) => Promise<void>) | undefined>> = {
  welcome: undefined,
  lamp: (guest) => onPackages(guest, 'lamp'),
  wordpress: (guest) => onPackages(guest, 'wordpress'),
  ghost: async (guest) => ensureGhostApp(guest, (await ensureGhostBase(guest)).versions.at(-1) ?? ''),
};

const own = (app: string) => `/etc/sitegen/apps/${app}`;

async function onPackages(guest: Guest, app: string): Promise<void> {
  const base = await ensureWordpressBase(guest);
  await guest.sh(`mkdir -p ${own(app)}; cp -r /usr/lib/sitegen/templates/apps/${app}/. ${own(app)}; sed -i 's|^  base: .*|  base: "${base}"|' ${own(app)}/app.yaml`);
}

/** Cold wakes of apps of the catalogue, by phases, beside a start of the same container by hand until its first 200. */
export async function benchApps(guest: Guest): Promise<void> {
  await guest.run(['sh', '-c', 'cat > /tmp/apps.mjs'], { input: await readFile(path.resolve(import.meta.dirname, 'apps.mjs'), 'utf8') });
  for (const app of (process.env['APPS'] ?? Object.keys(apps).join(',')).split(',')) await benchApp(guest, app);
}

async function benchApp(guest: Guest, app: string): Promise<void> {
  const domain = `${app}.example.com`;
  try {
    await apps[app]?.(guest);
    // Without a dump, which a start by hand does not make, before each stop.
    await guest.sh(`sitegen add ${domain} --app ${app}; echo 'backup: false' >>/etc/sitegen/sites/${domain}.yaml; sitegen apply --quiet`, { timeoutMs: 600_000 });
    const { address, containerAddress } = await guest.status(domain);
    // Installs it.
    await guest.sh(`curl --silent --fail --output /dev/null --max-time 300 --retry 3 --header 'Host: ${domain}' --header 'X-Forwarded-Proto: https' http://${address}/; sitegen stop ${domain}`, { timeoutMs: 600_000 });
    const port = await guest.sh(`sed -n 's/^port: //p' /usr/lib/sitegen/templates/apps/${app}/app.yaml`);
    const out = await guest.sh(`node /tmp/apps.mjs ${rounds} ${domain} ${address} ${containerAddress} ${port}`, { timeoutMs: 1_200_000 });
    const { hit, hand, peaks, wakes } = JSON.parse(out) as { hit: number[]; hand: number[]; peaks: number[]; wakes: string[] };
    console.log(`cold visits to ${app}, ${rounds} rounds, in turns:`);
    figures('until 200, woken by the visit', hit, 'ms');
    figures('until 200, docker start of its container', hand, 'ms');
    ratio('visit ÷ by hand', hit, hand);
    console.log(`  ${'of the wake, medians'.padEnd(44)} ${phases.map((phase) => `${phase} ${at(wakes.map((wake) => Number(new RegExp(`\\b${phase}=(\\d+)`).exec(wake)?.[1])), 0.5)} ms`).join(', ')}`);
    figures('memory at the peak of the wake (PSS)', peaks, 'MB');
  } finally {
    await guest.sh(`sitegen remove --purge -yq ${domain} || true; rm -rf ${own(app)}`);
  }
}
