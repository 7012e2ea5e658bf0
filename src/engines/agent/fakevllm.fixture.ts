/** A program that behaves like `vllm serve` in what the agent sees of it, with a child of its own as vLLM has. `FAKE_VLLM` breaks it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export type FakeMode = 'well' | 'slow' | 'never' | 'dies' | 'stubborn' | 'deaf' | 'broken';

const PROGRAM = `
const http = require('node:http');
const { spawn } = require('node:child_process');
const mode = process.env.FAKE_VLLM ?? 'well';
const flag = (name) => process.argv[process.argv.indexOf('--' + name) + 1];
const say = (text) => console.log('(APIServer pid=' + process.pid + ') INFO 11-25 10:00:00 [api_server.py:1] ' + text);
if (mode === 'dies') {
  console.log('(EngineCore pid=7) ERROR 11-25 10:00:00 [core.py:9] ValueError: no room for 5 GiB of KV');
  console.error('RuntimeError: Engine core initialization failed. See root cause above.');
  process.exit(1);
}
// Holds the pipes open and does not care for SIGTERM, as a worker deep in a kernel.
const core = spawn(process.execPath, ['-e', "process.on('SIGTERM', () => {}); setInterval(() => {}, 1000)"], { stdio: 'inherit' });
process.on('SIGTERM', () => {
  if (mode === 'stubborn') return;
  core.kill('SIGKILL');
  process.exit(0);
});
say('core ' + core.pid);
if (mode === 'deaf') {
  console.error('Exception in thread nixl_handshake_listener:');
  setTimeout(() => console.error('zmq.error.ZMQError: Address already in use'), 50);
}
let dead = false;
let running = 0;
const answers = {
  '/health': (response) => { response.statusCode = dead ? 503 : 200; response.end(); },
  '/version': (response) => response.end(JSON.stringify({ version: '0.32.0+fake' })),
  '/metrics': (response) => response.end('running ' + running + '\\n'),
  '/v1/completions': (response) => {
    if (mode === 'broken') response.statusCode = 500;
    response.end(JSON.stringify({ choices: [{ text: 'x' }], env: process.env, args: process.argv.slice(2) }));
  },
  '/fake/core-dies': (response) => { dead = true; response.end(); },
  '/fake/run': (response) => { running = 1; response.end(); },
  '/fake/rest': (response) => { running = 0; response.end(); },
};
const server = http.createServer((request, response) => {
  request.resume();
  request.on('end', () => (answers[request.url] ?? ((other) => { other.statusCode = 404; other.end(); }))(response));
});
if (mode !== 'never' && mode !== 'deaf') setTimeout(() => server.listen(Number(flag('port')), flag('host')), mode === 'slow' ? 700 : 0);
`;

/** @returns the path of the program */
export function writeFakeVllm(folder: string): string {
  const path = join(folder, 'vllm.cjs');
  writeFileSync(path, `#!${process.execPath}\n${PROGRAM}`, { mode: 0o755 });
  return path;
}

/** A folder that describes a small model. */
export function writeModelFiles(folder: string): void {
  const config = { num_hidden_layers: 4, num_attention_heads: 4, num_key_value_heads: 2, head_dim: 64, vocab_size: 258, dtype: 'bfloat16' };
  writeFileSync(join(folder, 'config.json'), JSON.stringify({ ...config, rope_theta: 10_000 }));
  writeFileSync(join(folder, 'tokenizer.json'), '{}');
  writeFileSync(join(folder, 'model.safetensors'), 'weights');
}

/** False for one that has ended and waits for its parent to notice, too. */
export function isAlive(pid: number): boolean {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.charAt(text.lastIndexOf(')') + 2) !== 'Z';
  } catch {
    return false;
  }
}
