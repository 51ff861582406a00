/** A terminal that is drawn upon as a whole. */
export interface Screen {
  /** Shows these lines and nothing else; what has no room is left out. */
  draw(lines: readonly string[]): void;
  /** How many lines there are. */
  rows(): number;
  /** Settles when somebody wants to leave: by q, Ctrl-C, or a signal, whose number it gives. */
  left: Promise<number | undefined>;
  /** When the window has another size. */
  onResize(redraw: () => void): void;
  /** Gives the terminal back as it was; may be repeated. */
  close(): void;
}

const signals = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

/** The second screen without cursor, on which long lines are cut; and back. */
const enter = '\u001B[?1049h\u001B[?25l\u001B[?7l';
const leave = '\u001B[?7h\u001B[?25h\u001B[?1049l';

/** Takes the terminal of standard output, and the keys where standard input is one too. */
export function openScreen(): Screen {
  const { stdin, stdout } = process;
  const undo: (() => void)[] = [];
  let open = true;
  const close = () => {
    if (!open) return;
    open = false;
    for (const step of undo.reverse()) step();
    stdout.write(leave);
  };
  stdout.write(enter);
  // However this program ends.
  process.once('exit', close);
  undo.push(() => process.off('exit', close));
  const left = new Promise<number | undefined>((resolve) => {
    for (const [signal, number] of Object.entries(signals)) {
      const heard = () => { resolve(number); };
      process.on(signal, heard);
      undo.push(() => process.off(signal, heard));
    }
    if (!stdin.isTTY) return;
    const typed = (keys: Buffer) => {
      if (/[qQ\u0003\u0004]/.test(keys.toString('latin1'))) resolve(undefined);
    };
    stdin.setRawMode(true);
    stdin.on('data', typed).resume();
    undo.push(() => { stdin.off('data', typed).setRawMode(false).pause(); });
  });
  // Terminals that were never told their size have none.
  const rows = () => stdout.rows || 24;
  return {
    draw(lines) {
      const shown = lines.slice(0, rows());
      // Written over, and not cleared before: that would flicker.
      if (open) stdout.write(`\u001B[H${shown.map((line) => `${line}\u001B[K`).join('\r\n')}\u001B[J`);
    },
    rows,
    left,
    onResize(redraw) {
      stdout.on('resize', redraw);
      undo.push(() => { stdout.off('resize', redraw); });
    },
    close,
  };
}
