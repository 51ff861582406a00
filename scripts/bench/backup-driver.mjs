import { repack } from '../../lib/effects/git/maintain.ts';
import { commitSite } from '../../lib/usecases/commit.ts';
import { extractSite } from '../../lib/usecases/extract.ts';

/** One step of a backup, in a process of its own as the units run it: `STEP DIRECTORY …`. */

const [step, directory = '', ...rest] = process.argv.slice(2);
const names = { domain: 'bench.example.com', dataDir: `${rest[0] ?? ''}/data`, repository: `${directory}/site.git`, backupCache: `${directory}/cache` };
switch (step) {
  case 'commit':
    await commitSite({ names, exclude: [], meta: [{ name: 'dump/dump.sql', content: { file: `${rest[0] ?? ''}/meta/dump.sql` } }], message: 'backup', date: new Date(), signingKey: rest[1], report: () => undefined });
    break;
  case 'repack':
    await repack(names.repository, true);
    break;
  case 'extract':
    await extractSite({ repository: rest[0] ?? '', commit: 'refs/heads/main', into: rest[1] ?? '' });
    break;
  default:
    throw new Error(`no step ${step ?? ''}`);
}
