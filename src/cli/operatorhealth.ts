/** What the operator says of itself over HTTP: /healthz, /readyz, /metrics. */
import type { Server } from 'node:http';
import type { OperatorState } from '../controller/operator/index.ts';
import { createServer } from '../shared/index.ts';
import { METRICS_CONTENT_TYPE, MetricTable } from '../telemetry/metrics/index.ts';

export interface HealthSource {
  isLeader(): boolean;
  /** Null while it does not lead. */
  state(): OperatorState | null;
}

/** A watch that the API server has not said anything on for so long, bookmarks included, is broken in a way that does not mend itself. */
const SILENT_MS = 600_000;
const SECONDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

export class OperatorHealth {
  readonly #source: HealthSource;
  readonly #table = new MetricTable({});
  readonly #seconds: { observe(value: number): void };
  readonly #rounds: { add(value: number, labels: Readonly<Record<string, string>>): void };
  readonly #server: Server;

  constructor(source: HealthSource) {
    this.#source = source;
    const table = this.#table;
    this.#seconds = table.histogram(
      { name: 'sluice_operator_round_seconds', help: 'Time of one round over one ServingDeployment.' },
      SECONDS,
    );
    this.#rounds = table.count({ name: 'sluice_operator_rounds_total', help: 'Rounds by outcome.' }, ['outcome']);
    const gauge = (name: string, help: string, read: () => number) =>
      table.gauge({ name: `sluice_operator_${name}`, help }, () => [{ value: read() }]);
    gauge('leader', '1 while this process leads.', () => Number(source.isLeader()));
    gauge('deployments', 'ServingDeployments that are looked after.', () => source.state()?.deployments ?? 0);
    gauge('queue_ready', 'ServingDeployments that are due.', () => source.state()?.queue.ready ?? 0);
    gauge('queue_running', 'ServingDeployments that are worked on.', () => source.state()?.queue.running ?? 0);
    table.gauge(
      { name: 'sluice_operator_pinned_contexts', help: 'PinnedContexts, by whether as many instances hold them as are to.' },
      () => this.#pinned(),
      ['ready'],
    );
    table.gauge({ name: 'sluice_operator_watching', help: '1 while the watch of a resource stands.' }, () => this.#watching(), [
      'resource',
    ]);
    this.#server = createServer((request, response) => {
      void this.#answer(request.url ?? '').then(({ status, type, text }) => {
        response.writeHead(status, { 'content-type': type });
        response.end(text);
      });
    });
  }

  round(ms: number, failed: boolean): void {
    this.#seconds.observe(ms / 1000);
    this.#rounds.add(1, { outcome: failed ? 'failed' : 'ok' });
  }

  /** @returns its URL. Rejects when it cannot listen there. */
  listen(host: string, port: number): Promise<string> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(port, host, () => {
        const address = this.#server.address();
        const bound = typeof address === 'object' && address !== null ? address.port : port;
        resolve(`http://${host.includes(':') ? `[${host}]` : host}:${bound}`);
      });
    });
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(path: string): Promise<{ readonly status: number; readonly type: string; readonly text: string }> {
    const plain = (status: number, text: string) => ({ status, type: 'text/plain', text: `${text}\n` });
    switch (path.split('?')[0]) {
      case '/healthz':
        return this.#unwell() === null ? plain(200, 'ok') : plain(503, this.#unwell() ?? '');
      case '/readyz':
        return this.#unready() === null ? plain(200, 'ok') : plain(503, this.#unready() ?? '');
      case '/metrics':
        return { status: 200, type: METRICS_CONTENT_TYPE, text: await this.#table.text() };
      default:
        return plain(404, 'no such path; there are /healthz, /readyz, /metrics');
    }
  }

  /** A new start may help. */
  #unwell(): string | null {
    const silent = Object.entries(this.#source.state()?.watches ?? {}).find(([, { heardMsAgo }]) => (heardMsAgo ?? 0) > SILENT_MS);
    return silent ? `the watch of ${silent[0]} has been silent for ${silent[1].heardMsAgo} ms` : null;
  }

  /** One that waits to lead is ready: it can take over. */
  #unready(): string | null {
    const state = this.#source.state();
    if (state === null || state.synced) return null;
    const missing = Object.entries(state.watches).filter(([, { synced }]) => !synced);
    return `not everything is known yet: ${missing.map(([resource, { error }]) => `${resource}${error === null ? '' : ` (${error})`}`).join(', ')}`;
  }

  #pinned() {
    const { ready = 0, notReady = 0 } = this.#source.state()?.pinned ?? {};
    return [
      { value: ready, labels: { ready: 'true' } },
      { value: notReady, labels: { ready: 'false' } },
    ];
  }

  #watching() {
    const watches = Object.entries(this.#source.state()?.watches ?? {});
    return watches.map(([resource, { watching }]) => ({ value: Number(watching), labels: { resource } }));
  }
}
