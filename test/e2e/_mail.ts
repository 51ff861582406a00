import type { Guest } from './_guest.ts';
import { write } from './_machine.ts';

/** A smarthost on the guest's loopback that keeps what it gets: it answers as one does, a line at a time. */
const sink = `
import net from 'node:net';
import fs from 'node:fs';
net.createServer((socket) => {
  let data = false, text = '', rest = '';
  const say = (line) => socket.write(line + '\\r\\n');
  socket.on('error', () => undefined);
  say('220 sink');
  socket.on('data', (chunk) => {
    rest += chunk.toString('latin1');
    for (let at; (at = rest.indexOf('\\r\\n')) !== -1;) {
      const line = rest.slice(0, at);
      rest = rest.slice(at + 2);
      if (data && line === '.') { data = false; fs.appendFileSync('/tmp/sink.txt', text + '=====\\n'); text = ''; say('250 ok'); }
      else if (data) text += line + '\\n';
      else if (/^DATA/i.test(line)) { data = true; say('354 go on'); }
      else if (/^RCPT TO:<refused@/i.test(line)) say('550 no such user');
      else if (/^(MAIL|RCPT)/i.test(line)) { text += line + '\\n'; say('250 ok'); }
      else if (/^RSET/i.test(line)) { text = ''; say('250 ok'); }
      else if (/^QUIT/i.test(line)) { say('221 bye'); socket.end(); }
      else say('250 sink');
    }
  });
}).listen(2500, '127.0.0.1');
`;

/** Where it is. */
export const sinkUrl = 'smtp://127.0.0.1:2500';

/** Starts it, for a relay that has taken nothing in this hour. */
export async function startSink(guest: Guest): Promise<void> {
  await write(guest, '/tmp/sink.mjs', sink);
  await guest.sh(`
    systemctl stop sitegen-test-sink sitegen-mail.service 2>/dev/null || true; rm -rf /tmp/sink.txt /run/sitegen-mail/*
    systemd-run --quiet --collect --unit sitegen-test-sink node /tmp/sink.mjs`);
}

/** Ends it, and takes away what waits for it. */
export async function stopSink(guest: Guest): Promise<void> {
  await guest.sh('systemctl stop sitegen-test-sink 2>/dev/null || true; rm -rf /var/lib/sitegen/mail/spool/queue/* /var/lib/sitegen/mail/spool/in/*');
}

/** Speaks SMTP in the site's container, with its busybox, once it has been greeted; gives all answers. */
export function speak(guest: Guest, domain: string, lines: readonly string[], port = 25): Promise<string> {
  const script = `
    trap "" PIPE
    cd /dev/shm
    rm -f in out
    mkfifo in
    nc -w 8 mail.sitegen.internal ${port} <in >out &
    exec 3>in
    for i in $(seq 100); do grep -q ^220 out && break; sleep 0.1; done
    ${lines.map((line) => `sleep 0.3; printf "%s\\r\\n" "${line}" >&3`).join('\n    ')}
    sleep 1
    exec 3>&-
    wait
    cat out`;
  return guest.sh(`docker exec site-${domain} sh -c '${script}' || true`);
}

/** One to somebody, as it is told to a relay. */
export const message = (subject: string, to = 'somebody@example.net', from = 'info@mail.example.com') =>
  ['EHLO me', `MAIL FROM:<${from}>`, `RCPT TO:<${to}>`, 'DATA', `Subject: ${subject}`, `From: ${from}`, '', 'Hello', '.', 'QUIT'];
