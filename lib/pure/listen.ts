/** A port of this host that a site has for the world, and the port of its container behind it. */
export interface ListenPort {
  public: number;
  container: number;
}

/** Ports that no site can have, and whose they are. */
export const reservedPorts: Readonly<Record<number, string>> = { 22: 'ssh', 80: 'the router', 443: 'the router', 2525: 'the mail relay' };

/** Reads `25`, or `25:2525` with the container's own behind the colon; undefined when it is neither. */
export function parseListen(value: string | number): ListenPort | undefined {
  const [, left, right = left] = /^(\d{1,5})(?::(\d{1,5}))?$/.exec(String(value)) ?? [];
  const ports = { public: Number(left), container: Number(right) };
  return [ports.public, ports.container].every((port) => port >= 1 && port <= 65_535) ? ports : undefined;
}

/** The other form, as the programs of a site's service read it. */
export function formatListen(ports: readonly ListenPort[]): string {
  return ports.map((port) => `${port.public}:${port.container}`).join(' ');
}

/** Reads what `formatListen` wrote. */
export function readListen(text: string): ListenPort[] {
  return text.split(' ').flatMap((part) => parseListen(part) ?? []);
}

/** Sites that claim one port, with those that have it already first. */
export interface PortClaim {
  domain: string;
  ports: readonly ListenPort[];
  /** Public ports that systemd holds for it. */
  held: ReadonlySet<number>;
}

/**
 * Public ports that two sites claim. The one keeps it that is set up already, so that a new file
 * takes nothing from another site.
 * @returns for each claim that is lost, the port and who has it
 */
export function portClashes(claims: readonly PortClaim[]): { domain: string; port: number; owner: string }[] {
  const byPort = new Map<number, PortClaim[]>();
  for (const claim of claims) for (const { public: port } of claim.ports) byPort.set(port, [...byPort.get(port) ?? [], claim]);
  return [...byPort].flatMap(([port, rivals]) => {
    const rank = ({ domain, held }: PortClaim) => `${held.has(port) ? 0 : 1} ${domain}`;
    const [owner, ...losers] = rivals.sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
    return losers.map(({ domain }) => ({ domain, port, owner: owner?.domain ?? '' }));
  });
}
