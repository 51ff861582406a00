/** The page that a visitor gets while a site cannot wake. Says no more than a stranger may know. */
export function unavailablePage(domain: string): string {
  return page(`${domain} is not available`, `${domain} could not be started`, 'The site did not answer in time. Please try again in a moment; the next visit starts it anew.');
}

/** The same for a site that is kept stopped, as its data takes all the room that it may. */
export function fullPage(domain: string): string {
  return page(`${domain} is not available`, `${domain} is full`, 'The site has used up its room on this server. It comes back as soon as whoever runs it has made some.');
}

/** The router's own pages, by status and `maintenance`: heading and text. */
const texts: Readonly<Record<string, readonly [heading: string, text: string]>> = {
  400: ['This request cannot be understood', 'Your browser sent something that does not follow the rules of HTTP, or headers that are too long. Deleting the cookies of this site may help.'],
  401: ['Who are you?', 'This site is for people with a user name and a password.'],
  403: ['You may not enter', 'This site is for certain networks only, and yours is none of them.'],
  404: ['There is nothing here', 'The address may be misspelt, or what stood here is gone.'],
  408: ['That took too long', 'The request did not arrive completely. Please try again.'],
  413: ['That is too large', 'The request has more data than this site accepts.'],
  421: ['No such site', 'This server has no site of that name.'],
  429: ['One moment, please', 'Too many requests came from your network. Please try again in a minute.'],
  503: ['This site is not available', 'It cannot be reached at the moment. Please try again soon.'],
  504: ['This site takes too long', 'It did not answer in time. Please try again later.'],
  maintenance: ['We will be back soon', 'Somebody is working on this site. Please come again in a few minutes.'],
};

/** The router's own pages as HTML, by the names that its configuration calls them. */
export function routerPages(): Map<string, string> {
  return new Map(Object.entries(texts).map(([name, [heading, text]]) => [`${name}.html`, page(heading, heading, text)]));
}

/**
 * What our pages look like, in daylight and in the dark, on a wide screen and on a telephone's. All
 * of it is in the page, as nothing else may answer while a site cannot.
 */
export const pageStyle = `  :root { color-scheme: light dark; --paper: #f7f5f1; --ink: #22262a; --soft: #565d64; --mark: #b4543a; }
  @media (prefers-color-scheme: dark) { :root { --paper: #16191c; --ink: #eae7e1; --soft: #a9afb5; --mark: #e08c6d; } }
  body { box-sizing: border-box; display: grid; place-items: center; min-height: 100vh; margin: 0; padding: 2rem 1.5rem 12vh; font: 1.125rem/1.6 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
  main { width: 100%; max-width: 34rem; overflow-wrap: anywhere; }
  main::before { content: ""; display: block; width: 3rem; height: .3rem; margin-bottom: 1.25rem; border-radius: 1rem; background: var(--mark); }
  h1 { margin: 0 0 .75rem; font-size: clamp(1.5rem, 6vw, 2.1rem); line-height: 1.2; text-wrap: balance; }
  p { margin: 0 0 .75rem; color: var(--soft); text-wrap: pretty; }
`;

function page(title: string, heading: string, text: string): string {
  // Without an icon of their own browsers ask the site for one, which would cause one more try to start it.
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>${escapeHtml(title)}</title>
<style>
${pageStyle}</style>
<main>
<h1>${escapeHtml(heading)}</h1>
<p>${escapeHtml(text)}</p>
</main>
`;
}

/** For text and attribute values, in HTML and in XML. */
export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
