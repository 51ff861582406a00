/** What of a site names the sockets of its public ports. */
interface Id {
  id: string;
}

/** The socket by which systemd holds a public port of a site; it starts the site's own service. */
export function listenSocket({ id }: Id, port: number): string {
  // ":" is in neither part, so that it is never taken for another site's.
  return `sitegen-listen@${id}:${port}.socket`;
}

/** Pattern that matches the sockets of all public ports of a site. */
export function listenPattern({ id }: Id): string {
  return `sitegen-listen@${id}:*.socket`;
}

/** Site and port of such a socket, by its name; undefined for other units. */
export function parseListenSocket(unit: string): { id: string; port: number } | undefined {
  const [, id, port] = /^sitegen-listen@([a-z0-9._-]+):(\d{1,5})\.socket$/.exec(unit) ?? [];
  return id === undefined ? undefined : { id, port: Number(port) };
}

/** Matches sockets of public ports in `paths.unitsDir`. @param names only this site's */
export function isListenSocket(fileName: string, names?: Id): boolean {
  const found = parseListenSocket(fileName);
  return found !== undefined && (names === undefined || found.id === names.id);
}
