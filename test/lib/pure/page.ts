import { readFileSync } from 'node:fs';
import test from 'ava';
import { pageStyle, routerPages, unavailablePage } from '../../../lib/pure/page.ts';

test('the page names the domain and asks to try again', (t) => {
  const page = unavailablePage('example.com');
  t.regex(page, /^<!doctype html>\n/);
  t.regex(page, /<title>example\.com is not available<\/title>/);
  t.regex(page, /<h1>example\.com could not be started<\/h1>/);
  t.regex(page, /try again/);
});

test('a domain is text in the page, never markup', (t) => {
  const page = unavailablePage(`<script>"&'`);
  t.false(page.includes('<script>'));
  t.is(page.split('&#60;script&#62;&#34;&#38;&#39;').length, 3);
});

test('the page tells a stranger nothing about the machine', (t) => {
  t.notRegex(unavailablePage('example.com'), /sitegen|docker|systemd|container|10\.21/i);
});

const welcome = readFileSync(new URL('../../../templates/apps/welcome/www/index.html', import.meta.url), 'utf8');
const all = new Map([...routerPages(), ['unavailable', unavailablePage('example.com')], ['welcome', welcome]]);

test('each page loads nothing, has one heading, and looks like the others', (t) => {
  for (const [name, html] of all) {
    t.notRegex(html, /src=|href="(?!data:,")|url\(|@import/i, name);
    t.is(html.split('<h1>').length, 2, name);
    t.true(html.includes(`<style>\n${pageStyle}`), name);
    t.regex(html, /<html lang="en">\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">/, name);
  }
});

test('the router can hold each of its pages in one buffer', (t) => {
  // It refuses a file that is not smaller than tune.bufsize, 16384 bytes, and headers come with it.
  for (const [name, html] of routerPages()) t.true(Buffer.byteLength(html) < 8000, name);
});
