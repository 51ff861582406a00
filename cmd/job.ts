import notify from 'systemd-notify';
import { connectRunner } from '../lib/usecases/runner.ts';
import { connectSystemd } from '../lib/effects/systemd.ts';
import { reasonOf, SitegenError } from '../lib/pure/errors.ts';
import { skippedCode, stoppedCode } from '../lib/pure/jobs.ts';
import { jobUnits, parseJobInstance } from '../lib/pure/names.ts';
import { worked } from '../lib/usecases/alarm.ts';
import { runJob } from '../lib/usecases/job.ts';

/** Run by sitegen-job@ID:NAME.service: one job of one site. */
const instance = parseJobInstance(process.argv[2] ?? '');
const stop = new AbortController();
// systemd is told of the wait for a container by the same lines as in a wake, whose shim is another process.
process.env['SITEGEN_MAIN_PID'] = String(process.pid);
process.once('SIGTERM', () => { stop.abort(new SitegenError('it was stopped before its end')); });
if (!instance) {
  console.error(`<3>${process.argv[2] ?? ''} names no job: it is SITE:JOB`);
  process.exitCode = 1;
} else {
  const systemd = await connectSystemd();
  try {
    const skipped = await runJob({ docker: connectRunner(), systemd, signal: stop.signal }, instance.id, instance.job);
    if (skipped === undefined) await worked(jobUnits(instance, instance.job).service, new Date());
    else process.exitCode = skippedCode;
    await notify({ status: skipped === undefined ? 'done' : `skipped: ${skipped}` }).catch(() => undefined);
  } catch (error) {
    if (!(error instanceof SitegenError)) console.error(error);
    // The alarm tells it.
    await notify({ status: reasonOf(error) }).catch(() => undefined);
    process.exitCode = stop.signal.aborted ? stoppedCode : 1;
  } finally {
    systemd.close();
  }
}
