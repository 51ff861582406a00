import test from 'ava';
import { unavailablePage } from '../../../lib/pure/page.ts';

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

test('the page tells a stranger nothing about the machine and loads nothing', (t) => {
  t.notRegex(unavailablePage('example.com'), /sitegen|docker|systemd|container|10\.21|src=|href=|url\(/i);
});
