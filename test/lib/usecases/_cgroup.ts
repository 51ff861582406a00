import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { ExecutionContext } from 'ava';

/** A folder that goes after the test. */
export function folder(t: ExecutionContext): string {
  const made = mkdtempSync(path.join(os.tmpdir(), 'sitegen-'));
  t.teardown(() => { rmSync(made, { recursive: true, force: true }); });
  return made;
}

/** Writes what the kernel says of a group of processes. */
export function group(directory: string, { populated = true, frozen = false, ...files }: { populated?: boolean; frozen?: boolean } & Record<string, string | boolean> = {}): void {
  mkdirSync(directory, { recursive: true });
  writeFileSync(`${directory}/cgroup.events`, `populated ${Number(populated)}\nfrozen ${Number(frozen)}\n`);
  for (const [name, content] of Object.entries(files)) writeFileSync(`${directory}/${name}`, String(content));
}
