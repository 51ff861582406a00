/** A site's states, in the order in which the first that applies is shown. */
export const states = ['disabled', 'configured', 'data', 'image', 'created', 'installing', 'waking', 'awake', 'frozen', 'broken', 'asleep', 'routed'] as const;

export type State = (typeof states)[number];

/** What was asked of systemd, Docker and the file system about one site. */
export interface Facts {
  /** Why the settings cannot be used, if so. */
  settingsFault: string | undefined;
  enabled: boolean;
  /** What runs for the site: a container unless given, a program without one, a splice to an upstream's unix socket, or nothing of ours. */
  runs?: 'container' | 'program' | 'splice' | 'nothing' | undefined;
  /** ActiveState and SubState; undefined when the unit is not loaded. */
  socket: { activeState: string; subState: string } | undefined;
  service: { activeState: string; subState: string } | undefined;
  unitFiles: boolean;
  data: boolean;
  image: boolean;
  /** Docker's status of the container, or undefined when there is none. */
  container: string | undefined;
  frozen: boolean;
  /** What its first start has still to do, as "install it"; undefined when nothing. */
  pending?: string | undefined;
  /** It is kept stopped, as its data takes more room than it may. */
  isFull?: boolean;
  /** What a service that has failed said last. */
  failure?: string | undefined;
}

/**
 * The one state of a site, "routed" where the router needs nothing of ours to answer, with the reason where something is missing or wrong. "asleep" and
 * "created" are no faults: the next visitor wakes the site, and makes its container first.
 */
export function stateOf(facts: Facts): { state: State; reason: string | undefined } {
  const { socket, service, settingsFault } = facts;
  if (settingsFault !== undefined) return { state: 'broken', reason: settingsFault };
  if (!facts.enabled) return { state: 'disabled', reason: 'disabled in its settings' };
  if (facts.runs === 'nothing') return facts.data ? { state: 'routed', reason: undefined } : { state: 'data', reason: 'the directory that it serves is missing: restore it' };
  if (!facts.unitFiles) return { state: 'configured', reason: 'its units are not written yet: sitegen apply' };
  if (socket?.activeState === 'failed') return { state: 'broken', reason: 'its socket has failed: see systemctl status of the socket' };
  if (socket?.activeState !== 'active') return { state: 'configured', reason: 'its socket does not listen: sitegen apply' };
  if (facts.runs === 'splice' && (!service || service.activeState === 'inactive')) return { state: 'asleep', reason: undefined };
  if (!facts.data) return { state: 'data', reason: 'its data directory is missing: restore it, or sitegen apply for an empty one' };
  if (service?.activeState === 'active') return { state: 'awake', reason: undefined };
  if (service?.activeState === 'activating') return facts.pending === undefined ? { state: 'waking', reason: undefined } : { state: 'installing', reason: `its first start has to ${facts.pending}` };
  if (facts.isFull === true) return { state: 'broken', reason: 'it is kept stopped, as its data has reached limits.disk: make room or raise that, then: sitegen start' };
  if (!facts.image) return { state: 'image', reason: 'its image is missing: the next visit or sitegen apply fetches it' };
  if (service?.activeState === 'failed') return { state: 'broken', reason: `${facts.failure ?? 'its last wake failed'}; the next visit tries again` };
  if (facts.container === undefined) return { state: 'created', reason: facts.runs === 'program' ? 'what its program needs is missing: the next visit makes it' : 'its container is missing: the next visit creates it' };
  if (facts.pending !== undefined) return { state: 'created', reason: `its first start has to ${facts.pending}: the next visit does it` };
  if (facts.frozen) return { state: 'frozen', reason: undefined };
  return { state: 'asleep', reason: undefined };
}

/** True for a site that the next visitor would not reach. */
export function isDown(state: State): boolean {
  return ['configured', 'data', 'image', 'broken', 'disabled'].includes(state);
}
