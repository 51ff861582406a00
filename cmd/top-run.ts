import { asleepLine, topCells, topFigures, topHead, topRows, topSummary, type TopRow } from '../lib/pure/top.ts';
import { takeSample, type Snapshot } from '../lib/usecases/top.ts';
import { colors, print, printJson } from './output.ts';
import { openScreen } from './screen.ts';
import { tableLines } from './table.ts';

const everyMs = 2000;

/** Long enough for figures a second. */
const onceMs = 1000;

/** What `sitegen top` does. */
export async function runTop({ all, once, json }: { all: boolean; once: boolean; json: boolean }): Promise<void> {
  if (!json && !once && process.stdout.isTTY) {
    await watch(all);
    return;
  }
  const before = await takeSample();
  await new Promise((resolve) => setTimeout(resolve, onceMs));
  const now = await takeSample();
  if (json) printJson({ sites: topRows(before, now, all), asleep: now.asleep.length, budgetBytes: now.budgetBytes ?? null });
  else for (const line of linesOf(before, now, all)) print(line);
}

/** Draws it anew until somebody leaves. */
async function watch(all: boolean): Promise<void> {
  let [before, now]: [Snapshot | undefined, Snapshot] = [undefined, await takeSample()];
  const screen = openScreen();
  const draw = () => { screen.draw(linesOf(before, now, all, screen.rows())); };
  let isOver = false;
  const over = screen.left.then((signal) => {
    isOver = true;
    if (signal !== undefined) process.exitCode = 128 + signal;
  });
  try {
    screen.onResize(draw);
    draw();
    // The first figures a second do not wait for a whole round.
    for (let waitMs = onceMs; !isOver; waitMs = everyMs) {
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([over, new Promise((resolve) => { timer = setTimeout(resolve, waitMs); })]);
      clearTimeout(timer);
      if (isOver) break;
      const next = await takeSample();
      [before, now] = [now, next];
      draw();
    }
  } finally {
    screen.close();
  }
}

/** @param room lines that there are; without it all are shown */
function linesOf(before: Snapshot | undefined, now: Snapshot, all: boolean, room = Infinity): string[] {
  const { dim, bold } = colors();
  const rows = topRows(before, now, all);
  const last = asleepLine(all ? 0 : now.asleep.length, rows.length);
  const lines = rows.length === 0 ? [] : ['', ...tableLines(topHead, rows.map((row) => paint(topCells(row), row.state)), bold, topFigures)];
  // One line above the table, and one below it.
  const fits = Math.max(0, room - 1 - (last === undefined ? 0 : 1));
  const cut = lines.length > fits ? [...lines.slice(0, Math.max(0, fits - 1)), dim(`… ${lines.length - fits + 1} more`)] : lines;
  return [topSummary(now, now.budgetBytes), ...cut, ...(last === undefined ? [] : [dim(last)])];
}

function paint(cells: readonly string[], state: TopRow['state']): string[] {
  const { green, yellow, cyan, dim } = colors();
  const color = { awake: green, quiet: yellow, frozen: cyan, asleep: dim }[state];
  return cells.map((cell, column) => (column === 1 ? color(cell) : cell));
}
