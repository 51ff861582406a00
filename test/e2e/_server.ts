import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Guest } from './_guest.ts';

const fixtures = path.resolve(import.meta.dirname, 'fixtures');

/** Docker's name of the image with the server for tests. */
export const serverImage = 'test/server:4';

/**
 * Makes the image of the test server in a guest, from the guest's own Node and its libraries:
 * no registry can be reached there. It reads PORT, START_DELAY_MS and GRACEFUL.
 */
export async function ensureServerImage(guest: Guest): Promise<void> {
  await guest.run(['mkdir', '-p', '/tmp/server']);
  await put(guest, 'server.mjs', '/tmp/server/server.mjs');
  await guest.sh(`
    docker image inspect ${serverImage} >/dev/null 2>&1 && exit
    cd /tmp/server && rm -rf root && mkdir -p root/tmp root/data
    node=$(readlink -f "$(command -v node)")
    for file in "$node" $(ldd "$node" | grep -o '/[^ ]*'); do
      mkdir -p "root$(dirname "$file")" && cp -L "$file" "root$file"
    done
    # Debian's Node reads parts of itself from there.
    mkdir -p root/usr/share && cp -rL /usr/share/nodejs root/usr/share/
    cp server.mjs root/
    tar -C root -c . | docker import --change 'CMD ["'"$node"'", "/server.mjs"]' - ${serverImage} >/dev/null
    rm -rf root`);
}

/** Copies a fixture into a guest. */
export async function put(guest: Guest, fixture: string, target: string): Promise<void> {
  const { code, stderr } = await guest.run(['sh', '-c', `cat > ${target}`], { input: await readFile(path.join(fixtures, fixture), 'utf8') });
  if (code !== 0) throw new Error(`${fixture}: ${stderr}`);
}

/** What load.mjs prints. */
export interface LoadSummary {
  sent: number;
  answered: number;
  retried: number;
  lost: string[];
  posts: number[];
  slowest: number;
}

/** Puts a load on an address, from within the guest, and waits for its end. */
export async function load(guest: Guest, address: string, rate: number, seconds: number): Promise<LoadSummary> {
  for (const name of ['requests.mjs', 'load.mjs']) await put(guest, name, `/tmp/${name}`);
  return JSON.parse(await guest.sh(`node /tmp/load.mjs http://${address} ${rate} ${seconds}`, { timeoutMs: (seconds + 120) * 1000 })) as LoadSummary;
}
