import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { bytes, milliseconds, percent } from './amounts.ts';
import { table, terminalOn } from './terminal.ts';

function stream(isTTY: boolean): { stream: NodeJS.WriteStream; written: () => string } {
  const sink = new PassThrough();
  const target = Object.assign(sink, { isTTY, columns: 20 }) as PassThrough & NodeJS.WriteStream;
  return { stream: target, written: () => String(sink.read() ?? '') };
}

describe('terminalOn', () => {
  it('rewrites one line on a terminal, cut to its width, and removes it before other output', () => {
    const { stream: target, written } = stream(true);
    const terminal = terminalOn(target, {});
    terminal.live('a line that is longer than the terminal');
    terminal.live('short');
    terminal.print('done');
    expect(written()).toBe('\r\u001b[Ka line that is lon…\r\u001b[Kshort\r\u001b[Kdone\n');
  });

  it('prints milestones once where nobody watches', () => {
    const { stream: target, written } = stream(false);
    const terminal = terminalOn(target, {});
    for (const elapsed of ['1 s', '2 s', '3 s']) terminal.live(`starting ${elapsed}`, 'starting');
    terminal.print('done');
    expect(written()).toBe('starting\ndone\n');
  });

  it('colours terminals only, and not with NO_COLOR', () => {
    expect(terminalOn(stream(true).stream, {}).paint.red('x')).toBe('\u001b[31mx\u001b[39m');
    expect(terminalOn(stream(true).stream, { NO_COLOR: '1' }).paint.red('x')).toBe('x');
    expect(terminalOn(stream(false).stream, {}).paint.red('x')).toBe('x');
  });
});

describe('table', () => {
  it('aligns columns whatever is painted', () => {
    const { paint } = terminalOn(stream(true).stream, {});
    const lines = table(
      [{ title: 'name' }, { title: 'n', right: true }],
      [
        [paint.green('a'), '1'],
        ['long name', '100'],
      ],
      paint,
    );
    expect(lines.slice(1)).toEqual(['\u001b[32ma\u001b[39m            1', 'long name  100']);
  });
});

describe('amounts', () => {
  it('shows three digits that count', () => {
    expect([0.4213, 9.9949, 12.34, 99.96, 999.4, 2314].map(milliseconds)).toEqual([
      '0.42 ms',
      '9.99 ms',
      '12.3 ms',
      '100 ms',
      '999 ms',
      '2.31 s',
    ]);
    expect([0, 1023, 1024, 16384, 1048575, 5 * 2 ** 30].map(bytes)).toEqual([
      '0 B',
      '1023 B',
      '1.00 KiB',
      '16.0 KiB',
      '1.00 MiB',
      '5.00 GiB',
    ]);
    expect(percent(0.126)).toBe('13 %');
  });
});
