import { ensureWordpress } from './_images.ts';
import { guestTest, until, type Guest } from './_guest.ts';

const domain = 'blog.example.com';
const service = `site-${domain}`;
const title = 'A blog that sleeps';
const password = 'correct horse battery';

guestTest('WordPress with MariaDB is installed, sleeps cleanly, and has its posts and files when it wakes', async (t, guest) => {
  const address = await addBlog(guest);
  const first = await guest.get(address, { host: domain, timeoutS: 60 });
  t.is(first.status, 302);
  t.regex(first.headers, /Location: http:\/\/blog\.example\.com\/wp-admin\/install\.php/);
  t.regex(await post(guest, address, '/wp-admin/install.php?step=2', [
    ['weblog_title', title], ['user_name', 'editor'], ['admin_password', password], ['admin_password2', password],
    ['pw_weak', '1'], ['admin_email', 'editor@example.com'], ['blog_public', '0'],
  ]), /<h1>Success!<\/h1>/);
  t.regex(await call(guest, address, 'wp.newPost',
    '<struct><member><name>post_title</name><value><string>Kept overnight</string></value></member>'
    + '<member><name>post_status</name><value><string>publish</string></value></member></struct>'), /<string>\d+<\/string>/);
  const url = /<name>url<\/name><value><string>http:\/\/blog\.example\.com(\/[^<]*note[^<]*)</.exec(await call(guest, address, 'wp.uploadFile',
    '<struct><member><name>name</name><value><string>note.txt</string></value></member>'
    + '<member><name>type</name><value><string>text/plain</string></value></member>'
    + `<member><name>bits</name><value><base64>${Buffer.from('an upload').toString('base64')}</base64></value></member></struct>`))?.[1];
  t.truthy(url);

  const stopped = await cursor(guest);
  t.is((await guest.sitegen('stop', domain)).code, 0);
  const asleep = await guest.status(domain);
  t.is(asleep.state, 'asleep');
  t.is(asleep.container.status, 'exited');
  t.is(await guest.sh(`docker inspect -f '{{.State.ExitCode}}' ${service}`), '0');
  t.regex(await journal(guest, stopped), /mariadbd: Shutdown complete/);

  const slept = await cursor(guest);
  const cold = await guest.get(address, { host: domain });
  t.log(`first visit, which makes the database: ${first.seconds.toFixed(1)} s; cold: ${cold.seconds.toFixed(2)} s; ${await lastWake(guest)}`);
  t.is(cold.status, 200);
  t.regex(cold.body, new RegExp(`<title>${title}</title>`));
  t.regex(cold.body, /Kept overnight/);
  t.is((await guest.get(address, { host: domain, path: url ?? '' })).body, 'an upload');
  const log = await journal(guest, slept);
  t.regex(log, /mariadbd: ready for connections/);
  t.notRegex(log, /crash recovery/);

  // Killed and taken away: what is there afterwards comes from the volumes. It also shows that
  // the log would tell of a database that was not shut down.
  const killed = await cursor(guest);
  await guest.sh(`docker rm --force ${service}`);
  await until('the service has noticed', async () => (await guest.status(domain)).state !== 'awake');
  const again = await guest.get(address, { host: domain });
  t.is(again.status, 200);
  t.regex(again.body, /Kept overnight/);
  t.regex(await journal(guest, killed), /crash recovery/);
});

async function addBlog(guest: Guest): Promise<string> {
  const address = await guest.site(domain, '--image', await ensureWordpress(guest), '--memory', '1G',
    '--volume', 'database:/var/lib/mysql', '--volume', 'uploads:/var/lib/wordpress/wp-content/uploads');
  await guest.sh(`
    printf '%s\\n' 'ready:' '  path: /wp-login.php' 'stop:' '  timeout: 30s' >>/etc/sitegen/sites/${domain}.yaml
    sitegen apply ${domain}`);
  return address;
}

function post(guest: Guest, address: string, path: string, fields: readonly (readonly [string, string])[]): Promise<string> {
  return guest.sh(`curl --silent --max-time 60 --header 'Host: ${domain}' ${fields.map(([name, value]) => `--data-urlencode '${name}=${value}'`).join(' ')} 'http://${address}${path}'`);
}

/** WordPress's XML-RPC, the way in for editors outside the browser. */
function call(guest: Guest, address: string, method: string, argument: string): Promise<string> {
  const params = ['<int>1</int>', '<string>editor</string>', `<string>${password}</string>`, argument].map((value) => `<param><value>${value}</value></param>`);
  return guest.sh(`curl --silent --max-time 60 --header 'Host: ${domain}' --header 'Content-Type: text/xml' \
    --data '<?xml version="1.0"?><methodCall><methodName>${method}</methodName><params>${params.join('')}</params></methodCall>' 'http://${address}/xmlrpc.php'`);
}

function cursor(guest: Guest): Promise<string> {
  return guest.sh('journalctl --sync; journalctl -n 0 --show-cursor | sed -n "s/^-- cursor: //p"');
}

function journal(guest: Guest, after: string): Promise<string> {
  return guest.sh(`journalctl --sync; journalctl -u ${service} --after-cursor '${after}' --no-pager -o cat`);
}

async function lastWake(guest: Guest): Promise<string> {
  return guest.sh(`journalctl -u ${service} --no-pager -o cat | grep '^awake:' | tail -1`);
}
