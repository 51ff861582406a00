import { openConnections, trafficIn } from '../effects/cgroup.ts';
import { flowsOf, holdFlows, releaseFlows } from '../effects/network.ts';
import { reasonOf } from '../pure/errors.ts';
import { drainStep, quietMs, type DrainMemory } from '../pure/drain.ts';

/**
 * Waits until the splice of a site has no request in flight, so that it can be ended without
 * losing one. New connections are held by the caller; idle kept-alive ones are held here.
 * @param timeoutMs after which what is still in flight is given up
 * @param keepS for how long the next requests are kept out when all are done; whoever ends the splice lets them in before
 * @returns the number of connections that were still at work at the end; 0 when all were done
 */
export async function drain(siteAddress: string, timeoutMs: number, keepS: number): Promise<number> {
  const deadline = performance.now() + timeoutMs;
  let memory: DrainMemory = new Map();
  let warned = false;
  for (;;) {
    const flows = await flowsOf(siteAddress);
    const now = performance.now();
    const step = drainStep(flows, memory, now);
    if (now >= deadline) {
      for (const { address, port, ...state } of step.busy.slice(0, 3)) console.error(`still at work: ${address}:${port} ${JSON.stringify(state)}`);
      return step.busy.length;
    }
    try {
      await releaseFlows(siteAddress, step.release);
      // Longer than the pause between two rounds, however slow the machine is; short, as a helper that
      // dies must lock nobody out. Once all are done whoever ends the splice lets them in.
      await holdFlows(siteAddress, step.hold, step.busy.length === 0 ? keepS : 3);
    } catch (error) {
      // Without the rules (flushed by somebody) what is in flight is still waited for.
      if (!warned) console.error(reasonOf(error));
      warned = true;
    }
    if (step.busy.length === 0) return 0;
    memory = step.memory;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

/** Bytes that the container's own work may cause in a second without counting. */
const noiseBytes = 500;

/**
 * Waits until no connection to a site's public ports is at work: none is open, or not a byte has come
 * or gone for a second. What is asked and answered there is not known, so a longer pause looks finished.
 * @param timeoutMs after which they are given up
 * @returns the number of connections that were still at work at the end; 0 when all were done
 */
export async function drainPorts(appCgroup: string, ports: readonly number[], timeoutMs: number): Promise<number> {
  const deadline = performance.now() + timeoutMs;
  let quietSince = performance.now();
  let bytes = trafficIn(appCgroup);
  for (;;) {
    const open = openConnections(appCgroup, ports);
    const now = performance.now();
    const traffic = trafficIn(appCgroup);
    if (traffic - bytes > noiseBytes) [quietSince, bytes] = [now, traffic];
    if (open === 0 || now - quietSince >= quietMs) return 0;
    if (now >= deadline) return open;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
