import { build, type Plugin } from 'esbuild';
import { repository } from '../lib/_site.ts';
import type { Answer, Request } from './fixtures/dump.ts';
import type { Guest } from './_lab.ts';

const program = '/run/test-dump.mjs';

/** Parts of dockerode that are never reached. */
const leaveOut: Plugin = {
  name: 'leave-out',
  setup(bundle) {
    bundle.onResolve({ filter: /^(@grpc\/grpc-js|@grpc\/proto-loader|protobufjs|ssh2|cpu-features)$/ }, ({ path }) => ({ path, namespace: 'left-out' }));
    bundle.onLoad({ filter: /./, namespace: 'left-out' }, () => ({ contents: 'module.exports = {};' }));
  },
};

/** Puts the program of `fixtures/dump.ts` into a guest, bundled as those of a server are. */
export async function installDumper(guest: Guest): Promise<void> {
  const { outputFiles: [file] } = await build({
    entryPoints: [`${repository}/test/e2e/fixtures/dump.ts`],
    bundle: true, write: false, format: 'esm', platform: 'node', target: 'node18', logLevel: 'error',
    plugins: [leaveOut],
    banner: { js: "import{createRequire as _cr}from'node:module';const require=_cr(import.meta.url);" },
  });
  await guest.run(['tee', program], { input: file?.text ?? '' });
}

/** Runs it. */
export async function dumper(guest: Guest, request: Partial<Request> & Pick<Request, 'action' | 'domain'>, options?: { timeoutMs?: number }): Promise<Answer> {
  const whole: Request = { settings: {}, timeoutMs: 60_000, previousBytes: null, file: '', argv: [], ...request };
  const { stdout, stderr } = await guest.run(['node', program], { input: JSON.stringify(whole), ...options });
  try {
    return JSON.parse(stdout) as Answer;
  } catch {
    throw new Error(`the program failed: ${stdout}${stderr}`);
  }
}
