import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import path from 'node:path';
import { readdir } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { createTransport } from 'nodemailer';
import { askFlush } from '../../../lib/effects/mail-spool.ts';
import { makeSpool, startSink } from '../_mail.ts';

const program = path.resolve(import.meta.dirname, '_mail-process.ts');

function run(part: string, directory: string, port: number): ChildProcess {
  return spawn(process.execPath, ['--import=tsx', program, part, directory, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  return port;
}

const nameIn = (text: string) => /^Subject: (\S+)/m.exec(text)?.[1] ?? '';

test('an intake that is killed at any moment has all that it acknowledged, once, and nothing in part', async (t) => {
  t.timeout(180_000);
  const { spool, directory } = await makeSpool(t);
  const port = await freePort();
  const acknowledged = new Set<string>();
  let sent = 0;
  for (let kills = 0; kills < 4; kills++) {
    const child = run('intake', directory, port);
    t.teardown(() => { child.kill('SIGKILL'); });
    await once(child.stdout ?? child, 'data');
    let stop = false;
    const clients = Array.from({ length: 4 }, async (_, index) => {
      const transport = createTransport({ host: '127.0.0.1', port, ignoreTLS: true, pool: true, maxConnections: 1 } as object);
      while (!stop) {
        const subject = `m${kills}-${index}-${sent++}`;
        await transport.sendMail({ from: 'a@example.com', to: 'b@example.net', subject, text: `${'x'.repeat(200_000)}\nend of ${subject}` })
          .then(() => { acknowledged.add(subject); }, () => { stop = true; });
      }
      transport.close();
    });
    // Somewhere within those that follow.
    const wanted = acknowledged.size + 3;
    while (acknowledged.size < wanted && !stop) await sleep(5);
    await sleep(kills * 13);
    await kill(child);
    stop = true;
    await Promise.all(clients);
  }
  t.true(acknowledged.size >= 12, `${acknowledged.size}`);
  const sink = await startSink(t);
  const child = run('deliver', directory, sink.port);
  const [code] = await once(child, 'exit') as [number];
  t.is(code, 0);
  const subjects = sink.got.map(({ text }) => nameIn(text));
  t.is(new Set(subjects).size, subjects.length, 'none came twice');
  t.deepEqual([...acknowledged].filter((subject) => !subjects.includes(subject)), []);
  // Those whose acknowledgement was on its way: four clients, four kills.
  t.true(subjects.length - acknowledged.size <= 16, `${subjects.length - acknowledged.size}`);
  t.true(sink.got.every(({ text }) => text.includes(`end of ${nameIn(text)}`)));
  t.deepEqual([...await readdir(spool.in), ...await readdir(spool.queue)], []);
});

test('a delivery that is killed at any moment loses nothing, and sends twice only what was under way', async (t) => {
  t.timeout(180_000);
  const { spool, directory } = await makeSpool(t);
  const port = await freePort();
  const intake = run('intake', directory, port);
  t.teardown(() => { intake.kill('SIGKILL'); });
  await once(intake.stdout ?? intake, 'data');
  const transport = createTransport({ host: '127.0.0.1', port, ignoreTLS: true, pool: true, maxConnections: 4 } as object);
  const count = 120;
  await Promise.all(Array.from({ length: count }, (_, index) => transport.sendMail({ from: 'a@example.com', to: 'b@example.net', subject: `m${index}`, text: 'x' })));
  transport.close();
  await kill(intake);
  const sink = await startSink(t, { hold: () => sleep(25) });
  let kills = 0;
  for (; kills < 3; kills++) {
    const before = sink.got.length;
    const child = run('deliver', directory, sink.port);
    const wanted = before + 5 + kills * 3;
    while (sink.got.length < wanted && child.exitCode === null) await sleep(3);
    await kill(child);
  }
  t.true(sink.got.length < count, 'it was killed before its end');
  const last = run('deliver', directory, sink.port);
  await once(last, 'exit');
  const subjects = sink.got.map(({ text }) => nameIn(text));
  t.is(new Set(subjects).size, count);
  // Three are under way at once.
  t.true(subjects.length - count <= kills * 3, `${subjects.length - count} came twice`);
  // What is still in the queue would have come again.
  await askFlush(spool);
  const again = run('deliver', directory, sink.port);
  await once(again, 'exit');
  t.is(sink.got.length, subjects.length);
  t.deepEqual(await readdir(spool.queue), []);
});
