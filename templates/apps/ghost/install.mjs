// Waits until Ghost has made its database, and makes the owner, before anybody else can.
const base = `http://127.0.0.1:${process.env.server__port}/ghost/api/admin/authentication/setup/`;
const { host } = new URL(process.env.url);
const headers = { 'content-type': 'application/json', 'x-forwarded-proto': 'https', 'x-forwarded-host': host, origin: process.env.url, 'accept-version': 'v5.0' };
let status;
for (let tries = 0; tries < 240; tries += 1) {
  status = await fetch(base, { headers }).then((answer) => (answer.ok ? answer.json() : undefined), () => undefined);
  if (status) break;
  await new Promise((resolve) => setTimeout(resolve, 1000));
}
if (!status) throw new Error('Ghost does not answer');
if (process.env.SITEGEN_HOOK === 'install' && status.setup?.[0]?.status !== true) {
  const { ADMIN_EMAIL: email, ADMIN_PASSWORD: password } = process.env;
  const answer = await fetch(base, { method: 'POST', headers, body: JSON.stringify({ setup: [{ name: 'Admin', email, password, blogTitle: host }] }) });
  if (!answer.ok) throw new Error(`Ghost refuses its owner: ${answer.status} ${await answer.text()}`);
}
