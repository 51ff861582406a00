// Lets Ghost make its database and makes the owner, before anybody else can; or waits until Ghost
// has brought its database up to date. Values are no arguments, as all processes see those.
import { writeFileSync } from 'node:fs';

const { SITEGEN_HOOK: hook, ADMIN_EMAIL: email, ADMIN_PASSWORD: password, url, server__port: port } = process.env;
const setup = `http://127.0.0.1:${port}/ghost/api/admin/authentication/setup/`;
const { host } = new URL(url);
const headers = { 'content-type': 'application/json', 'x-forwarded-proto': 'https', 'x-forwarded-host': host, origin: url, 'accept-version': 'v5.0' };
if (hook === 'install') writeFileSync('/tmp/install', '');
let status;
// The hook's timeout ends it.
while (!status) {
  status = await fetch(setup, { headers }).then((answer) => (answer.ok ? answer.json() : undefined), () => undefined);
  if (!status) await new Promise((resolve) => setTimeout(resolve, 500));
}
if (hook === 'install' && status.setup?.[0]?.status !== true) {
  const answer = await fetch(setup, { method: 'POST', headers, body: JSON.stringify({ setup: [{ name: 'Admin', email, password, blogTitle: host }] }) });
  if (!answer.ok) throw new Error(`Ghost refuses its owner: ${answer.status} ${await answer.text()}`);
}
