import Table from 'cli-table3';

/**
 * Columns without borders, as lines.
 * @param bold for the head
 * @param figures columns that stand at the right, by number
 */
export function tableLines(head: readonly string[], rows: readonly (readonly string[])[], bold: (text: string) => string, figures: readonly number[] = []): string[] {
  const none = Object.fromEntries(['top', 'top-mid', 'top-left', 'top-right', 'bottom', 'bottom-mid', 'bottom-left', 'bottom-right',
    'left', 'left-mid', 'mid', 'mid-mid', 'right', 'right-mid'].map((part) => [part, '']));
  const table = new Table({
    head: head.map((text) => bold(text)), colAligns: head.map((_, column) => (figures.includes(column) ? 'right' : 'left')),
    chars: { ...none, middle: '  ' }, style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  });
  table.push(...rows.map((row) => [...row]));
  return table.toString().split('\n').map((line) => line.trimEnd());
}
