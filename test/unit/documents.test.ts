import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { commandsIn, commandsOf, DOCUMENTS, ROOT } from '../documents/commands.ts';
import { COMMANDS_RUN } from '../documents/table.ts';

const all = DOCUMENTS.flatMap((document) => commandsIn(document).map((command) => ({ document, command })));

describe('the commands of the documents', () => {
  it('are found: in fences and sentences, without comments, with their continuations', () => {
    const markdown = [
      '```',
      'npm start      # starts',
      'curl http://x \\',
      "  -d '{}'",
      'some output',
      'sluice serves tiny',
      '```',
      'Use `sluice rollout undo NAME`, not `sluice up`, and `kubectl get\nsd`.',
      '```yaml',
      'kubectl: no command',
      '```',
    ].join('\n');
    expect(commandsOf(markdown)).toEqual(['npm start', "curl http://x -d '{}'", 'sluice rollout undo NAME', 'kubectl get sd']);
    expect(all.length).toBeGreaterThan(60);
  });

  it('are each run by a test, or it is said why not: a new one belongs into test/documents/table.ts', () => {
    expect(all.filter(({ command }) => COMMANDS_RUN[command] === undefined)).toEqual([]);
  });

  it('are all there is in the table', () => {
    const commands = new Set(all.map(({ command }) => command));
    expect(Object.keys(COMMANDS_RUN).filter((command) => !commands.has(command))).toEqual([]);
  });

  it('stand in the test that is said to run them', () => {
    for (const [command, run] of Object.entries(COMMANDS_RUN)) {
      if ('cannot' in run) continue;
      expect(existsSync(`${ROOT}${run.test}`), `${command}: ${run.test}`).toBe(true);
      expect(readFileSync(`${ROOT}${run.test}`, 'utf8').includes(run.says), `${run.test} does not say ${run.says}`).toBe(true);
    }
  });
});
