/** A program that behaves like SGLang's server in what the agent sees of it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PROGRAM = `
const fs = require('node:fs');
const http = require('node:http');
const flag = (name) => { const at = process.argv.indexOf('--' + name); return at < 0 ? null : process.argv[at + 1]; };
if (process.argv[2] !== '-m' || process.argv[3] !== 'sglang.launch_server') { console.error('fake sglang: error: not as a module'); process.exit(2); }
console.log('fake sglang ' + process.pid);
let asked = 0;
let running = 0;
const LABELS = '{model_name="tiny",tp_rank="0"}';
const page = () => ['num_running_reqs ' + running, 'num_queue_reqs 0', 'token_usage 0.5', 'max_total_num_tokens 3200', 'prompt_tokens_total 10', 'cached_tokens_total 4', 'generation_tokens_total 7', 'num_requests_total 2']
  .map((line) => 'sglang:' + line.replace(' ', LABELS + ' ')).join('\\n') + '\\n';
const refuse = (response, message) => { response.statusCode = 400; response.end(JSON.stringify({ object: 'error', message, type: 'BadRequestError', param: null, code: 400 })); };
const answers = {
  // It listens long before its model is loaded, and for as long as there is a file 'loading' beside it.
  '/health': (response) => { asked += 1; response.statusCode = asked > 2 && !fs.existsSync(__dirname + '/loading') ? 200 : 503; response.end(); },
  '/server_info': (response) => response.end(JSON.stringify({ version: '0.5.18', disaggregation_mode: flag('disaggregation-mode') })),
  '/metrics': (response) => response.end(page()),
  '/v1/completions': (response, body) => {
    if (flag('disaggregation-mode') !== null && body.bootstrap_room === undefined) return refuse(response, 'Disaggregated request received without bootstrap room id');
    response.end(JSON.stringify({ choices: [{ text: 'x' }] }));
  },
  '/fake/run': (response) => { running = 1; response.end(); },
};
const server = http.createServer((request, response) => {
  let text = '';
  request.on('data', (chunk) => { text += chunk; });
  request.on('end', () => (answers[request.url] ?? ((other) => { other.statusCode = 404; other.end(); }))(response, text === '' ? {} : JSON.parse(text)));
});
setTimeout(() => server.listen(Number(flag('port')), flag('host')), 100);
process.on('SIGTERM', () => process.exit(0));
`;

/** @returns the path of the program, which stands in for a python */
export function writeFakeSglang(folder: string): string {
  const path = join(folder, 'python3.cjs');
  writeFileSync(path, `#!${process.execPath}\n${PROGRAM}`, { mode: 0o755 });
  return path;
}
