const lineBytes = 2048;

/**
 * Calls back with each line of what comes in pieces, without the line break; of a long one with
 * its first 2 kB. `end` gives a last line that has none.
 */
export function startLines(found: (line: Buffer) => void): { write: (chunk: Buffer) => void; end: () => void } {
  let begun = Buffer.alloc(0);
  const add = (piece: Buffer) => {
    if (begun.length < lineBytes) begun = Buffer.concat([begun, piece.subarray(0, lineBytes - begun.length)]);
  };
  const end = () => {
    if (begun.length > 0) found(begun);
    begun = Buffer.alloc(0);
  };
  const write = (chunk: Buffer) => {
    for (let at = 0; at < chunk.length;) {
      const stop = chunk.indexOf(10, at);
      if (stop === -1) {
        add(chunk.subarray(at));
        return;
      }
      if (begun.length === 0) {
        found(chunk.subarray(at, Math.min(stop, at + lineBytes)));
      } else {
        add(chunk.subarray(at, stop));
        end();
      }
      at = stop + 1;
    }
  };
  return { write, end };
}

/** A line as journal and terminals can show it: else it is "blob data" there, or moves somebody's cursor. */
export function printable(text: string): string {
  return text.replaceAll('\t', '    ').replaceAll(/\u001b\[[0-9;?]*[A-Za-z]/g, '').replaceAll(/[\u0000-\u001f\u007f]/g, '\ufffd');
}
