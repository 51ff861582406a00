import test from 'ava';
import { isDown, stateOf, states, type Facts, type State } from '../../../lib/pure/state.ts';

const unit = (activeState: string, subState = '') => ({ activeState, subState });
const asleep: Facts = {
  settingsFault: undefined, enabled: true, socket: unit('active', 'listening'), service: unit('inactive', 'dead'), unitFiles: true, data: true, image: true, container: 'exited', frozen: false,
};

function shows(what: string, facts: Partial<Facts>, state: State, reason?: RegExp): void {
  test(`a site ${what} is ${state}`, (t) => {
    const shown = stateOf({ ...asleep, ...facts });
    t.is(shown.state, state);
    if (reason) t.regex(shown.reason ?? '', reason);
    else t.is(shown.reason, undefined);
  });
}

shows('that has everything and runs not', {}, 'asleep');
shows('whose service was never loaded', { service: undefined }, 'asleep');
shows('whose service is active', { service: unit('active', 'running'), container: 'running' }, 'awake');
shows('whose service starts', { service: unit('activating', 'start') }, 'waking');
shows('whose container is frozen', { frozen: true, container: 'running' }, 'frozen');
shows('that is awake and has a frozen mark still', { frozen: true, service: unit('active') }, 'awake');
shows('without a container', { container: undefined }, 'created', /next visit creates it/);
shows('without an image', { image: false, container: undefined }, 'image', /image is missing/);
shows('without data', { data: false }, 'data', /data directory is missing/);
shows('whose units are not written', { unitFiles: false, socket: undefined, service: undefined }, 'configured', /not written yet: sitegen apply/);
shows('whose socket is stopped', { socket: unit('inactive') }, 'configured', /does not listen: sitegen apply/);
shows('whose socket is not loaded', { socket: undefined }, 'configured', /does not listen/);
shows('whose socket has failed', { socket: unit('failed', 'resources') }, 'broken', /socket has failed/);
shows('whose last wake failed', { service: unit('failed') }, 'broken', /last wake failed; the next visit tries again/);
shows('that could not wake for a reason it told', { service: unit('failed'), failure: 'its container ended with exit code 3' }, 'broken', /^its container ended with exit code 3; the next visit tries again$/);
shows('that is kept stopped as its data is too much', { isFull: true }, 'broken', /data has reached limits\.disk/);
shows('that is awake still while its data is too much', { isFull: true, service: unit('active', 'running') }, 'awake');
shows('of which nothing runs here', { runs: 'nothing', socket: undefined, service: undefined, unitFiles: false, container: undefined, image: false }, 'routed');
shows('of which nothing runs here and whose directory is missing', { runs: 'nothing', data: false }, 'data', /directory that it serves is missing/);
shows('of which nothing runs here and that is switched off', { runs: 'nothing', enabled: false }, 'disabled', /disabled in its settings/);
shows('that is spliced to a socket', { runs: 'splice', data: false, image: false, container: undefined }, 'asleep');
shows('that is spliced to a socket at this moment', { runs: 'splice', service: unit('active', 'running') }, 'awake');
shows('whose splice has failed', { runs: 'splice', service: unit('failed') }, 'broken', /last wake failed/);
shows('that is spliced and whose socket is stopped', { runs: 'splice', socket: unit('inactive') }, 'configured', /does not listen/);
shows('that is switched off', { enabled: false, socket: unit('inactive') }, 'disabled', /disabled in its settings/);
shows('with wrong settings', { settingsFault: 'port: 0 too small' }, 'broken', /^port: 0 too small$/);

/** What is missing, in the order in which it is shown. */
const missing: [Partial<Facts>, State][] = [
  [{ settingsFault: 'x' }, 'broken'], [{ enabled: false }, 'disabled'], [{ unitFiles: false }, 'configured'], [{ socket: unit('failed') }, 'broken'],
  [{ data: false }, 'data'], [{ image: false }, 'image'], [{ service: unit('failed') }, 'broken'], [{ container: undefined }, 'created'], [{ frozen: true }, 'frozen'],
];

test('of several things that are missing the first is shown', (t) => {
  for (const [index, [facts, state]] of missing.entries()) {
    const later = Object.assign({}, ...missing.slice(index + 1).map(([other]) => other)) as Partial<Facts>;
    t.is(stateOf({ ...asleep, ...later, ...facts }).state, state, JSON.stringify(facts));
  }
});

test('a site that its next visitor would wake is not down', (t) => {
  t.deepEqual(states.filter((state) => !isDown(state)), ['created', 'installing', 'waking', 'awake', 'frozen', 'asleep', 'routed']);
});
