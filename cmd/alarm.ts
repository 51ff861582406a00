import { connectSystemd } from '../lib/effects/systemd.ts';
import { raise } from '../lib/usecases/alarm.ts';

/** Run by sitegen-alarm@UNIT.service, which OnFailure= of all our other units names. */
const systemd = await connectSystemd();
try {
  // systemd 251 and later tell the units of OnFailure= about the failure (systemd.exec(5)).
  const failure = { result: process.env['MONITOR_SERVICE_RESULT'] ?? 'it failed', exitStatus: process.env['MONITOR_EXIT_STATUS'] };
  const { failed } = await raise(systemd, process.argv[2] ?? '', failure, new Date());
  if (failed) process.exitCode = 1;
} finally {
  systemd.close();
}
