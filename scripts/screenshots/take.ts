import path from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import sharp from 'sharp';

/** A page to take a picture of, and what tells that it is the right one. */
export interface Shot {
  /** Of the file, without `.png`. */
  name: string;
  /** Below `https://DOMAIN`. */
  path: string;
  status: number;
  /** Part of what a visitor reads there. */
  text: string;
  /** One of sitegen's own pages, which must also be fit for telephones and dark rooms. */
  own?: boolean;
}

const size = { width: 1000, height: 700 };
const telephone = { width: 360, height: 640 };
const maxBytes = 100_000;

/**
 * Starts a browser for which all names below example.com lead to one machine of the lab, and all
 * others nowhere. It takes any certificate, as those there are self-signed.
 * @param address of the machine
 */
export function openBrowser(address: string): Promise<Browser> {
  return chromium.launch({
    executablePath: path.join(import.meta.dirname, 'chromium'),
    chromiumSandbox: process.getuid?.() !== 0,
    args: [`--host-resolver-rules=MAP *.example.com ${address}, MAP * ~NOTFOUND, EXCLUDE ${address}`, '--font-render-hinting=none'],
  });
}

/**
 * Takes one picture, with at most 256 colours. Gives its bytes.
 * @throws Error that says what is wrong with the page: a status or text that is not the expected one,
 *   errors in the browser's console, something that could not be loaded, a blank or too large picture
 */
export async function take(browser: Browser, domain: string, shot: Shot): Promise<Buffer> {
  const wrong: string[] = [];
  const picture = await visit(browser, domain, shot, wrong, { viewport: size, colorScheme: 'light' }, (page) => page.screenshot());
  if (shot.own) await checkLooks(browser, domain, shot, wrong, await brightnessOf(picture));
  const { channels, entropy } = await sharp(picture).stats();
  if (entropy < 0.05 || Math.max(...channels.map(({ stdev }) => stdev)) < 3) wrong.push('it is blank');
  const small = await sharp(picture).png({ palette: true, quality: 90, effort: 10, compressionLevel: 9 }).toBuffer();
  if (small.length > maxBytes) wrong.push(`its picture has ${small.length} bytes, more than ${maxBytes}`);
  if (wrong.length > 0) throw new Error(`${shot.name}: https://${domain}${shot.path}:\n${[...new Set(wrong)].map((each) => `  ${each}`).join('\n')}`);
  return small;
}

/** On a telephone nothing is cut off, and in the dark it does not glare. */
async function checkLooks(browser: Browser, domain: string, shot: Shot, wrong: string[], light: number): Promise<void> {
  const width = await visit(browser, domain, shot, wrong, { viewport: telephone, colorScheme: 'light' }, (page) => page.evaluate<number>('document.documentElement.scrollWidth'));
  if (width > telephone.width) wrong.push(`on a screen of ${telephone.width} pixels it is ${width} wide`);
  const dark = await brightnessOf(await visit(browser, domain, shot, wrong, { viewport: telephone, colorScheme: 'dark' }, (page) => page.screenshot()));
  if (light < 180 || dark > 75) wrong.push(`its mean brightness is ${light.toFixed(0)} by day and ${dark.toFixed(0)} in the dark, of 255`);
}

async function brightnessOf(picture: Buffer): Promise<number> {
  const { channels: [grey] } = await sharp(picture).greyscale().stats();
  return grey?.mean ?? 0;
}

type Looks = Pick<NonNullable<Parameters<Browser['newContext']>[0]>, 'viewport' | 'colorScheme'>;

/** Opens a page as a new visitor, and adds to `wrong` what is not as it should be. */
async function visit<T>(browser: Browser, domain: string, { path: where, status, text, own = false }: Shot, wrong: string[], looks: Looks, body: (page: Page) => Promise<T>): Promise<T> {
  const url = `https://${domain}${where}`;
  // Guests reach nothing, so what an app has from elsewhere is missing; our own pages have nothing from there.
  const isElsewhere = (address: string) => !own && URL.canParse(address) && new URL(address).hostname !== domain;
  const context = await browser.newContext({ ...looks, ignoreHTTPSErrors: true, reducedMotion: 'reduce' });
  try {
    const page = await context.newPage();
    page.on('pageerror', (error) => wrong.push(`a script fails: ${error.message}`));
    page.on('console', (message) => {
      // The browser calls a page that is meant to have another status than 200 an error, too.
      if (message.type() === 'error' && !(status >= 400 && message.location().url === url) && !isElsewhere(message.location().url)) wrong.push(`the console has: ${message.text()}`);
    });
    page.on('requestfailed', (request) => { if (!isElsewhere(request.url())) wrong.push(`${request.url()}: ${request.failure()?.errorText ?? 'failed'}`); });
    page.on('response', (response) => { if (response.status() >= 400 && response.url() !== url) wrong.push(`${response.url()}: ${response.status()}`); });
    const answer = await page.goto(url, { waitUntil: 'networkidle', timeout: 180_000 });
    if (answer?.status() !== status) wrong.push(`the status is ${answer?.status() ?? 'missing'}, not ${status}`);
    if (!await page.getByText(text).first().isVisible()) wrong.push(`a visitor does not read "${text}" there`);
    return await body(page);
  } finally {
    await context.close();
  }
}
