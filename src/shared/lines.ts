/** The last lines of a stream, bounded in lines and bytes: enough to say why a process died, never more. */
export interface LineRing {
  /** Takes bytes as they come; a line may arrive in pieces. */
  write(chunk: string): void;
  /** The newest lines, oldest first, an unfinished last one included. */
  last(count: number): readonly string[];
}

/** @param onLine called once for every finished line. Lines longer than `maxLineChars` are cut. */
export function lineRing(maxLines: number, maxLineChars: number, onLine: (line: string) => void = () => {}): LineRing {
  const lines: string[] = [];
  let open = '';

  function finish(line: string): void {
    if (line.trim() === '') return;
    lines.push(line);
    if (lines.length > maxLines) lines.shift();
    onLine(line);
  }

  return {
    write(chunk) {
      const parts = chunk.split('\n');
      for (const [index, part] of parts.entries()) {
        open = (open + part).slice(0, maxLineChars);
        if (index === parts.length - 1) break;
        finish(open);
        open = '';
      }
    },
    last: (count) => [...lines, ...(open.trim() === '' ? [] : [open])].slice(-count),
  };
}
