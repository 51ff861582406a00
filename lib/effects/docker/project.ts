import { statusOf } from '../../pure/docker.ts';
import { shared } from '../../pure/names.ts';

/** What of Docker's client it takes to look after the containers of a Compose project. */
interface Api {
  listContainers(options: { all: boolean; filters: { label: string[] } }): Promise<{ Id: string; Names: string[]; Labels: Record<string, string>; State: string }[]>;
  getContainer(id: string): { stop(): Promise<unknown>; remove(options: { force: boolean; v: boolean }): Promise<unknown>; inspect(): Promise<{ Config: { Labels: Record<string, string> } }> };
  listNetworks(options: { filters: { label: string[] } }): Promise<{ Name: string }[]>;
  createNetwork(options: object): Promise<unknown>;
  getVolume(name: string): { inspect(): Promise<{ Mountpoint: string }> };
  getNetwork(name: string): { connect(options: object): Promise<unknown>; remove(): Promise<unknown> };
}

/** A container of a project beside the one that visitors reach. */
export interface Member {
  id: string;
  name: string;
  running: boolean;
  order: number;
}

/** The members of the project whose entrypoint's container has a name. */
export async function membersOf(api: Api, container: string): Promise<Member[]> {
  const rows = await api.listContainers({ all: true, filters: { label: [`${shared.labels.member}=${container}`] } });
  return rows.map(({ Id, Names, Labels, State }) => ({ id: Id, name: (Names[0] ?? '').replace(/^\//, ''), running: State !== 'created' && State !== 'exited' && State !== 'dead', order: Number(Labels[shared.labels.order] ?? 0) }));
}

/**
 * Ends a container, and with it all of its project: what was started last ends first, and what was
 * started together at once. Each has its own `StopTimeout`; one that does not run is no error.
 */
export async function stopAll(api: Api, container: string): Promise<void> {
  const members = (await membersOf(api, container)).filter(({ running }) => running);
  const own = members.length === 0 ? 0 : await orderOf(api, container);
  const all = [{ id: container, order: own }, ...members];
  for (const order of [...new Set(all.map((each) => each.order))].sort((a, b) => b - a)) {
    await Promise.all(all.filter((each) => each.order === order).map(({ id }) => ignoring([304, 404], api.getContainer(id).stop())));
  }
}

/** Removes the members of a project and its networks; the container that visitors reach is gone already. */
export async function removeMembers(api: Api, container: string): Promise<void> {
  for (const { id } of await membersOf(api, container)) await ignoring([404], api.getContainer(id).remove({ force: true, v: true }));
  const networks = await api.listNetworks({ filters: { label: [`${shared.labels.member}=${container}`] } });
  for (const { Name } of networks) await ignoring([404], api.getNetwork(Name).remove());
}

/** Makes a network of a project's own; one that is there already, and is the project's, is taken. */
export async function makeNetwork(api: Api, container: string, { name, internal, bridge }: { name: string; internal: boolean; bridge: string }): Promise<void> {
  const present = await api.listNetworks({ filters: { label: [`${shared.labels.member}=${container}`] } });
  if (present.some(({ Name }) => Name === name)) return;
  await api.createNetwork({
    Name: name, Driver: 'bridge', Internal: internal, CheckDuplicate: true,
    Labels: { [shared.labels.member]: container },
    Options: { 'com.docker.network.bridge.name': bridge },
  });
}

/** A container that is not ours. */
export interface Foreign {
  id: string;
  name: string;
  running: boolean;
}

/** Containers that Docker Compose has made for a project. */
export async function composeContainers(api: Pick<Api, 'listContainers'>, project: string): Promise<Foreign[]> {
  const rows = await api.listContainers({ all: true, filters: { label: [`com.docker.compose.project=${project}`] } });
  return rows.map(({ Id, Names, State }) => ({ id: Id, name: (Names[0] ?? '').replace(/^\//, ''), running: State === 'running' }));
}

/** Where the files of a named volume are. */
export async function volumePath(api: Pick<Api, 'getVolume'>, name: string): Promise<string | undefined> {
  try {
    return (await api.getVolume(name).inspect()).Mountpoint;
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw error;
  }
}

/** Has a container join a network, under some names. */
export async function join(api: Api, id: string, network: string, aliases: readonly string[]): Promise<void> {
  await api.getNetwork(network).connect({ Container: id, EndpointConfig: { Aliases: [...aliases] } });
}

async function orderOf(api: Api, container: string): Promise<number> {
  try {
    return Number((await api.getContainer(container).inspect()).Config.Labels[shared.labels.order] ?? 0);
  } catch (error) {
    if (statusOf(error) === 404) return 0;
    throw error;
  }
}

async function ignoring(statuses: readonly number[], request: Promise<unknown>): Promise<void> {
  try {
    await request;
  } catch (error) {
    if (!statuses.includes(statusOf(error) ?? 0)) throw error;
  }
}
