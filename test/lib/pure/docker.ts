import test from 'ava';
import { demultiplexer, dockerError } from '../../../lib/pure/docker.ts';
import { SitegenError } from '../../../lib/pure/errors.ts';

function frame(kind: number, text: string): Buffer {
  const header = Buffer.from([kind, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

test('both outputs of a program are told apart, however the stream is cut', (t) => {
  const stream = Buffer.concat([frame(1, 'first '), frame(2, 'a warning'), frame(1, ''), frame(1, 'x'.repeat(300)), frame(1, ' last')]);
  for (const size of [1, 3, 8, 9, 50, stream.length]) {
    const { write, rest } = demultiplexer();
    const found = { stdout: '', stderr: '' };
    for (let at = 0; at < stream.length; at += size) {
      for (const { stream: name, data } of write(stream.subarray(at, at + size))) found[name] += data.toString();
    }
    t.deepEqual(found, { stdout: `first ${'x'.repeat(300)} last`, stderr: 'a warning' }, `in pieces of ${size}`);
    t.is(rest(), 0);
  }
});

test('a stream that ends in the middle of a frame is noticed', (t) => {
  const whole = frame(1, 'hello');
  for (const [length, rest] of [[3, 3], [8, 5], [12, 1], [13, 0]] as const) {
    const demultiplex = demultiplexer();
    demultiplex.write(whole.subarray(0, length));
    t.is(demultiplex.rest(), rest, `${length} bytes`);
  }
});

test('what is no such stream is refused, and not taken for output', (t) => {
  for (const bytes of ['HTTP/1.1 500 oh', '\u0003\0\0\0\0\0\0\u0001x', '\u0001\0\u0001\0\0\0\0\u0001x']) {
    t.throws(() => demultiplexer().write(Buffer.from(bytes)), { instanceOf: SitegenError }, JSON.stringify(bytes));
  }
});

test('errors of Docker say what to do', (t) => {
  t.is(dockerError('start x', Object.assign(new Error('connect'), { code: 'ENOENT' })).hint, 'look at: systemctl status docker');
  t.is(dockerError('start x', Object.assign(new Error('connect'), { code: 'EACCES' })).hint, 'run it as root');
  t.is(dockerError('start x', { json: { message: 'no space left on device' } }).hint, 'make room: df -h; docker system df');
  const own = new SitegenError('known');
  t.is(dockerError('start x', own), own);
});
