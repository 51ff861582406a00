import test from 'ava';
import { silentEnds } from '../../../lib/pure/silent.ts';

const line = (peer: string, counters: string, state = 'ESTAB') => `${state} 0 0 [::ffff:10.214.1.2]:2525 ${peer} cubic rto:204 ${counters} rcv_space:65483`;

test('a client is silent from whom neither a byte nor an acknowledgement has come for so long', (t) => {
  t.deepEqual(silentEnds([
    line('[::ffff:192.0.2.1]:1', 'lastsnd:9000 lastrcv:5000 lastack:5000'),
    line('192.0.2.1:2', 'lastsnd:10 lastrcv:9000 lastack:10'),
    line('192.0.2.1:3', 'lastsnd:9000 lastrcv:4999 lastack:9000'),
    // Sent to without an answer.
    line('192.0.2.1:4', 'lastsnd:10 lastrcv:9000 lastack:8000', 'CLOSE-WAIT'),
    '',
  ].join('\n'), 5000), [
    { local: '[::ffff:10.214.1.2]:2525', peer: '[::ffff:192.0.2.1]:1' },
    { local: '[::ffff:10.214.1.2]:2525', peer: '192.0.2.1:4' },
  ]);
});

test('one about which the kernel says nothing is not silent', (t) => {
  t.deepEqual(silentEnds(`${line('192.0.2.1:1', '')}\n${line('192.0.2.1:2', 'lastrcv:9000')}\n${line('192.0.2.1:3', 'lastack:9000')}`, 5000), []);
});
