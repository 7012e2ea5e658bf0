/**
 * The least that a router in this runtime costs: Node's own HTTP server and client with keep-alive, engines in turn, nothing read of
 * body or answer. What the router bench shows of ours above it is what we do; what is below it is Node's.
 *
 *   node plain-proxy.ts PORT ENGINE_PORT…
 */
import http from 'node:http';
import { pipeline } from 'node:stream';

const [port = 0, ...engines] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true });
let turn = 0;

const server = http.createServer((request, response) => {
  turn = (turn + 1) % engines.length;
  const options = { host: '127.0.0.1', port: engines[turn], path: request.url, method: request.method, headers: request.headers, agent };
  const upstream = http.request(options, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers);
    pipeline(answer, response, () => undefined);
  });
  upstream.on('error', () => (response.headersSent ? response.destroy() : response.writeHead(502).end()));
  pipeline(request, upstream, () => undefined);
});
server.listen(port, '127.0.0.1');
