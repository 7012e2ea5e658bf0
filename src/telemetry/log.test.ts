import { describe, expect, it } from 'vitest';
import { createLogger, prettyLine } from './log.ts';

function record(format: 'json' | 'pretty', level: 'debug' | 'info' | 'warn' = 'info') {
  const lines: string[] = [];
  const logger = createLogger({ name: 'router', level, format, destination: { write: (line: string) => lines.push(line) } });
  return { logger, lines };
}

describe('createLogger', () => {
  it('writes one JSON object per line, with its name, level and an ISO time', () => {
    const { logger, lines } = record('json');
    logger.warn({ instance: 'decode-1' }, 'gone');
    expect(lines).toHaveLength(1);
    const line = JSON.parse(lines[0] ?? '');
    expect(line).toMatchObject({ name: 'router', level: 'warn', instance: 'decode-1', msg: 'gone' });
    expect(new Date(line.time).toISOString()).toBe(line.time);
    expect(Object.keys(line).filter((key) => key === 'pid' || key === 'hostname')).toEqual([]);
  });

  it('leaves out what is below its level', () => {
    const { logger, lines } = record('json', 'warn');
    logger.info('chatter');
    expect(lines).toEqual([]);
  });

  it('writes short lines for a person', () => {
    const { logger, lines } = record('pretty');
    logger.error({ instance: 'decode-1', attempts: 3, reason: 'connection refused' }, 'cannot connect');
    expect(lines[0]).toMatch(
      /^\d\d:\d\d:\d\d ERROR router {2}cannot connect {2}instance=decode-1 {2}attempts=3 {2}reason="connection refused"\n$/,
    );
  });

  it('keeps a line that is no record', () => {
    expect(prettyLine('plain\n')).toBe('plain\n');
  });

  it('shows the message and stack of an error', () => {
    const { logger, lines } = record('json');
    logger.error({ err: new Error('broken pipe') }, 'failed');
    expect(JSON.parse(lines[0] ?? '').err).toMatchObject({ type: 'Error', message: 'broken pipe' });
  });
});
