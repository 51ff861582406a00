import type { CommandModule } from 'yargs';
import { withSystemd } from './connect.ts';
import { printJson, printTable, report } from './output.ts';

/** `sitegen alarms`: units that have failed and not worked since. */
export const alarmsCommand: CommandModule<object, { json?: boolean | undefined }> = {
  command: 'alarms',
  describe: 'list open alarms; they close when their unit works again',
  builder: (yargs) => yargs.option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ json }) {
    const { openAlarms } = await import('../lib/usecases/alarm.ts');
    const alarms = await withSystemd((systemd) => openAlarms(systemd, new Date()));
    if (json) printJson(alarms);
    else if (alarms.length === 0) report('no open alarms');
    else await printTable(['UNIT', 'SINCE', 'TIMES', 'REASON'], alarms.map(({ unit, since, count, reason }) => [unit, since, String(count), reason]));
  },
};
