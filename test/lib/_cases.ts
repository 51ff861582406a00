import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { repository, type Written } from './_site.ts';

/** A case file, taken apart; its form is explained in cases.ts. */
export interface Case {
  /** The file's name without ending. */
  name: string;
  written: Written;
  asserts: string[];
}

/** True for settings that must not be taken. */
export function isRefusal({ asserts }: Case): boolean {
  return asserts.some((line) => line.startsWith('error: '));
}

export function parseCase(name: string, text: string): Case {
  const [head = '', tail = ''] = text.split(/^-{10}\n/m);
  const written: Record<string, string> = {};
  let section = 'site';
  for (const line of head.split('\n')) {
    const mark = /^# (defaults|app|site):$/.exec(line)?.[1];
    if (mark !== undefined) section = mark;
    else written[section] = `${written[section] ?? ''}${line}\n`;
  }
  return { name, written: { site: '', ...written }, asserts: tail.split('\n').filter((line) => line.trim() !== '') };
}

/** All cases, in the order of their names. */
export async function readCases(): Promise<Case[]> {
  const folder = `${repository}/test/cases`;
  const names = (await readdir(folder)).filter((name) => name.endsWith('.case')).sort();
  return Promise.all(names.map(async (name) => parseCase(name.replace('.case', ''), await readFile(path.join(folder, name), 'utf8'))));
}
