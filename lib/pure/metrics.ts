import type { MailCounts } from './mail-queue.ts';
import type { Traffic } from './stats.ts';

/** A site as Prometheus sees it. */
export interface SiteMetrics {
  site: string;
  traffic: Traffic;
  /** One of the words that monitors get; undefined when systemd could not be asked. */
  state: string | undefined;
  /** Undefined for one that has sent nothing. */
  mail?: MailCounts | undefined;
}

/**
 * Sites in Prometheus' exposition format, version 0.0.4. The counters go on over restarts of the router.
 * @param up whether the router answered
 */
export function renderMetrics(sites: readonly SiteMetrics[], up: boolean): string {
  const lines: string[] = [];
  const family = (name: string, type: 'counter' | 'gauge', help: string, samples: readonly string[]) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...samples.map((sample) => `${name}${sample}`));
  };
  const each = (samples: (metrics: SiteMetrics) => readonly string[]) => sites.flatMap((metrics) => samples(metrics));
  family('sitegen_router_up', 'gauge', 'Whether the router answers.', [` ${up ? 1 : 0}`]);
  family('sitegen_site_requests_total', 'counter', 'Requests of visitors.', each(({ site, traffic }) => [`${labels({ site })} ${traffic.requests}`]));
  family('sitegen_site_errors_total', 'counter', 'Answers of the site that say an error.', each(({ site, traffic }) => [
    `${labels({ site, class: '4xx' })} ${traffic.clientErrors}`,
    `${labels({ site, class: '5xx' })} ${traffic.serverErrors}`,
  ]));
  family('sitegen_site_bytes_total', 'counter', 'Bytes from visitors (in) and to them (out), with headers.', each(({ site, traffic }) => [
    `${labels({ site, direction: 'in' })} ${traffic.bytesIn}`,
    `${labels({ site, direction: 'out' })} ${traffic.bytesOut}`,
  ]));
  family('sitegen_site_wakes_total', 'counter', 'Times that the site was woken.', each(({ site, traffic }) => [`${labels({ site })} ${traffic.wakes}`]));
  family('sitegen_site_mail_total', 'counter', 'Messages that the relay took, recipients that got theirs or did not, and times that the limit was reached.', each(({ site, mail }) => (mail ? (['taken', 'delivered', 'lost', 'limited'] as const).map((outcome) => `${labels({ site, outcome })} ${mail[outcome]}`) : [])));
  family('sitegen_site_mail_waiting', 'gauge', 'Messages that waited when mail was last delivered.', each(({ site, mail }) => (mail ? [`${labels({ site })} ${mail.waiting}`] : [])));
  family('sitegen_site_state', 'gauge', 'The state that the site is in.', each(({ site, state }) => (state === undefined ? [] : [`${labels({ site, state })} 1`])));
  return `${lines.join('\n')}\n`;
}

function labels(values: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(values).map(([name, value]) => `${name}="${value.replace(/\\/g, String.raw`\\`).replace(/"/g, String.raw`\"`).replace(/\n/g, String.raw`\n`)}"`);
  return `{${pairs.join(',')}}`;
}
