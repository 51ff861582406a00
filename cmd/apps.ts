import type { CommandModule } from 'yargs';
import { printFaults, printJson, printTable, report } from './output.ts';

interface Options {
  json?: boolean | undefined;
}

/** `sitegen apps`: what sites can be made of. */
export const appsCommand: CommandModule<object, Options> = {
  command: 'apps',
  describe: 'list the apps that a site can be made of: sitegen add DOMAIN --app NAME',
  builder: (yargs) => yargs.option('json', { type: 'boolean', describe: 'print JSON' }),
  async handler({ json }) {
    const { listApps } = await import('../lib/usecases/apps.ts');
    const { apps, faults } = await listApps();
    if (json) {
      printJson(apps);
    } else {
      await printTable(['APP', 'DESCRIPTION', 'IMAGE', 'SIZE', 'REAL IMAGE TESTED'], apps.map(({ name, description, image, size, tested, own }) => [
        own ? `${name} (yours)` : name, description, image, size ?? '-', tested ? 'yes' : 'no',
      ]));
      for (const { name, warning } of apps) if (warning !== undefined) report(`warning: ${name}: ${warning}`);
    }
    process.exitCode = printFaults(faults);
  },
};
