import test from 'ava';
import { readUnitEnvironment } from '../../cmd/unit-environment.ts';
import { desiredOf, unitText } from '../lib/_site.ts';
import { environmentOf, readUnit } from '../lib/_systemd.ts';

const environment = (site: string) => environmentOf(readUnit(unitText(desiredOf({ site: `domain: my-site.org\nimage: x\n${site}` }), 'service')));

test('programs read back what the unit was made from', (t) => {
  const unit = environment('port: 8080\nlisten: ["25:2525"]\nready: {path: /100%"x", timeout: 5s}\nstop: {timeout: 7s}\n');
  const { site, address, ...rest } = readUnitEnvironment(unit);
  t.deepEqual(rest, { domain: 'my-site.org', container: 'site-my-site.org', port: 8080, listen: [{ public: 25, container: 2525 }], readyPath: '/100%"x"', readyMs: 5000, stopMs: 7000, dumpLimitS: 300 });
  t.regex(site, /^10\.213\.\d+\.\d+$/);
  t.is(address, site.replace('10.213.', '10.214.'));
});

test('without a path the port decides', (t) => {
  t.is(readUnitEnvironment(environment('')).readyPath, undefined);
});

test('a site without public ports has none', (t) => {
  t.deepEqual(readUnitEnvironment(environment('')).listen, []);
});

test('a site that is not backed up has no dump to wait for', (t) => {
  t.is(readUnitEnvironment(environment('backup: false\n')).dumpLimitS, 0);
});

test('each variable that is missing is named', (t) => {
  const unit = environment('');
  for (const name of ['DOMAIN', 'CONTAINER', 'SITE', 'ADDRESS', 'PORT', 'READY_PATH', 'READY_MS', 'STOP_MS'].map((each) => `SITEGEN_${each}`)) {
    t.throws(() => readUnitEnvironment({ ...unit, [name]: undefined }), { message: `${name} is not set: this program is run by a site's service` });
  }
});
