import dbus from 'dbus-next';
import { SitegenError } from '../pure/errors.ts';

/** State of a loaded unit, in systemd's words. */
export interface UnitState {
  name: string;
  loadState: string;
  activeState: string;
  subState: string;
}

/**
 * systemd, over D-Bus. Jobs resolve when they are done; starting what runs and stopping what
 * does not are no errors. Names are full unit names. Every method throws `SitegenError`.
 */
export interface Systemd {
  /** Starts a unit and waits until it is active. */
  start(unit: string): Promise<void>;
  /** Stops a unit and waits until it is inactive; one that is not loaded counts as stopped. */
  stop(unit: string): Promise<void>;
  restart(unit: string): Promise<void>;
  /** Starts a unit without waiting for it. */
  enqueue(unit: string): Promise<void>;
  /** Stands a slice still, with all that is in it; returns when it does (systemctl(1), `freeze`). */
  freeze(unit: string): Promise<void>;
  /** The reverse; no error for what is not frozen. */
  thaw(unit: string): Promise<void>;
  /** A service's own reload. */
  reloadUnit(unit: string): Promise<void>;
  /** `daemon-reload`: slow with many units, and every wake waits for it. */
  reload(): Promise<void>;
  /** Takes the failed state off a unit; one that is not loaded is left alone. */
  resetFailed(unit: string): Promise<void>;
  /** The loaded units that match one of the patterns. */
  list(patterns: readonly string[]): Promise<UnitState[]>;
  /** Properties of a unit, of one interface such as `Service`; unknown ones are left out. */
  properties(unit: string, kind: 'Unit' | 'Service' | 'Socket' | 'Slice' | 'Timer'): Promise<Record<string, unknown>>;
  /** Its version, as `257.9-1`. */
  version(): Promise<string>;
  close(): void;
}

const destination = 'org.freedesktop.systemd1';
const managerPath = '/org/freedesktop/systemd1';
const manager = `${destination}.Manager`;

/** Connects to the system's manager; close it at the end, or the process stays. */
export async function connectSystemd(): Promise<Systemd> {
  const bus = dbus.systemBus();
  const jobs = new Map<string, (result: string) => void>();
  const early = new Map<string, string>();
  const ready = new Promise<never>((_, reject) => {
    bus.on('error', (error: Error) => {
      reject(new SitegenError(`systemd cannot be reached over D-Bus: ${error.message}`, {
        hint: 'run as root on a machine that was booted with systemd', cause: error,
      }));
    });
  });
  ready.catch(() => undefined);

  const call = async (member: string, signature = '', body: unknown[] = [], path = managerPath, iface = manager): Promise<unknown[]> => {
    const message = new dbus.Message({ destination, path, interface: iface, member, signature, body });
    const reply = await Promise.race([bus.call(message), ready]);
    return (reply?.body ?? []) as unknown[];
  };

  bus.on('message', (message: dbus.Message) => {
    if (message.member !== 'JobRemoved') return;
    const [, path, , result] = message.body as [number, string, string, string];
    const waiting = jobs.get(path);
    if (waiting) waiting(result);
    else early.set(path, result);
  });
  await Promise.race([bus.call(new dbus.Message({
    destination: 'org.freedesktop.DBus',
    path: '/org/freedesktop/DBus',
    interface: 'org.freedesktop.DBus',
    member: 'AddMatch',
    signature: 's',
    body: [`type='signal',sender='${destination}',interface='${manager}',member='JobRemoved'`],
  })), ready]);
  await call('Subscribe');

  const job = async (member: string, unit: string): Promise<void> => {
    const [present, past] = verbs[member] ?? [member, member];
    let path: string;
    try {
      [path] = (await call(member, 'ss', [unit, 'replace'])) as [string];
    } catch (error) {
      if (member === 'StopUnit' && isError(error, 'NoSuchUnit')) return;
      throw failure(`${present} ${unit}`, error);
    }
    const result = early.get(path) ?? await new Promise<string>((resolve) => jobs.set(path, resolve));
    early.delete(path);
    jobs.delete(path);
    if (result !== 'done') {
      throw new SitegenError(`${unit} could not be ${past}: its job ended with "${result}"`, {
        hint: `look at: systemctl status ${unit}; journalctl -u ${unit} -n 30`,
      });
    }
  };

  const simple = async (what: string, member: string, signature: string, body: unknown[]): Promise<unknown[]> => {
    try {
      return await call(member, signature, body);
    } catch (error) {
      throw failure(what, error);
    }
  };

  return {
    start: (unit) => job('StartUnit', unit),
    stop: (unit) => job('StopUnit', unit),
    restart: (unit) => job('RestartUnit', unit),
    async enqueue(unit) {
      await simple(`start ${unit}`, 'StartUnit', 'ss', [unit, 'replace']);
    },
    async freeze(unit) {
      await simple(`freeze ${unit}`, 'FreezeUnit', 's', [unit]);
    },
    async thaw(unit) {
      await simple(`thaw ${unit}`, 'ThawUnit', 's', [unit]);
    },
    reloadUnit: (unit) => job('ReloadUnit', unit),
    async reload() {
      await simple('reload systemd', 'Reload', '', []);
    },
    async resetFailed(unit) {
      try {
        await call('ResetFailedUnit', 's', [unit]);
      } catch (error) {
        if (!isError(error, 'NoSuchUnit')) throw failure(`reset ${unit}`, error);
      }
    },
    async list(patterns) {
      const [rows] = await simple('list units', 'ListUnitsByPatterns', 'asas', [[], [...patterns]]) as [string[][]];
      return rows.map(([name = '', , loadState = '', activeState = '', subState = '']) => ({ name, loadState, activeState, subState }));
    },
    async properties(unit, kind) {
      const [path] = await simple(`look at ${unit}`, 'LoadUnit', 's', [unit]) as [string];
      const body = await call('GetAll', 's', [`${destination}.${kind}`], path, 'org.freedesktop.DBus.Properties');
      const variants = body[0] as Record<string, dbus.Variant>;
      return Object.fromEntries(Object.entries(variants).map(([name, variant]) => [name, variant.value as unknown]));
    },
    async version() {
      const [answer] = await call('Get', 'ss', [manager, 'Version'], managerPath, 'org.freedesktop.DBus.Properties') as [dbus.Variant];
      return String(answer.value);
    },
    close() {
      bus.disconnect();
    },
  };
}

const verbs: Record<string, [present: string, past: string]> = { StartUnit: ['start', 'started'], StopUnit: ['stop', 'stopped'], RestartUnit: ['restart', 'restarted'], ReloadUnit: ['reload', 'reloaded'] };

function isError(error: unknown, name: string): boolean {
  return error instanceof dbus.DBusError && error.type.endsWith(name);
}

function failure(what: string, error: unknown): SitegenError {
  if (error instanceof SitegenError) return error;
  return new SitegenError(`systemd would not ${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}
