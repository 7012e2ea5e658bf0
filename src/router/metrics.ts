/** The router's metrics (docs/metrics.md). Counters are plain numbers on the request path; prom-client sees them when it is scraped. */

import type { AbortReason, MigrationState, Transition } from '../kv/index.ts';
import { MetricTable, type Observer } from '../telemetry/metrics/index.ts';
import type { SpanExporter } from '../telemetry/traces/index.ts';
import type { Admission } from './admission/admission.ts';
import type { Forwarder } from './forward.ts';
import type { Registry } from './instances/registry.ts';
import type { DirectoryHints } from './kv/hints.ts';
import type { BlockSources } from './kv/sources.ts';
import type { MoveRecord, RequestOutcome, RequestRecord } from './record/index.ts';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const TOKEN_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

interface MeasuredParts {
  readonly registry: Registry;
  readonly admission: Admission;
  readonly forwarder: Forwarder;
  /** Null without an event log. */
  readonly sources: BlockSources | null;
  /** Null without a shared directory. */
  readonly hints: DirectoryHints | null;
  /** Null without tracing. */
  readonly spans: SpanExporter | null;
}

const SOURCES = ['log', 'feed', 'none'] as const;

export class RouterMetrics {
  readonly #table: MetricTable;
  readonly #outcomes: Record<RequestOutcome, number> = { ok: 0, refused: 0, rejected: 0, cancelled: 0, failed: 0 };
  readonly #ttft: Observer;
  readonly #tpot: Observer;
  readonly #whole: Observer;
  readonly #queued: Observer;
  readonly #pause: Observer;
  readonly #transitions: Record<MigrationState, number> = { requested: 0, reserved: 0, copying: 0, committed: 0, released: 0, aborted: 0 };
  readonly #aborted: Record<AbortReason, number> = { full: 0, refused: 0, silent: 0, lost: 0, ended: 0 };
  #movedBlocks = 0;
  #movedBytes = 0;
  #recomputed = 0;
  #retries = 0;
  #resumes = 0;
  #pairs = 0;
  #alone = 0;
  #outputTokens = 0;

  constructor({ registry, admission, forwarder, sources, hints, spans }: MeasuredParts) {
    const table = new MetricTable({ model_name: registry.model });
    this.#table = table;
    const histogram = (name: string, help: string, buckets: readonly number[]) =>
      table.histogram({ name: `sluice_router_${name}`, help }, buckets);
    this.#ttft = histogram('time_to_first_token_seconds', 'From the request to the first byte of its answer.', SECONDS);
    this.#tpot = histogram('time_per_output_token_seconds', 'Mean time per output token after the first, of streams.', TOKEN_SECONDS);
    this.#whole = histogram('request_seconds', 'From the request to the end of its answer.', SECONDS);
    this.#pause = histogram('move_pause_seconds', 'From the last token of the old instance to the first of the new one.', TOKEN_SECONDS);
    this.#queued = histogram('queue_seconds', 'Wait for admission.', SECONDS);
    const total = (name: string, help: string, read: () => number) =>
      table.total({ name: `sluice_router_${name}_total`, help }, () => [{ value: read() }]);
    table.total({ name: 'sluice_router_requests_total', help: 'Ended requests by outcome.' }, () => this.#byOutcome(), ['outcome']);
    total('retries', 'Attempts repeated on another instance before the first byte.', () => this.#retries);
    total('resumes', 'Streams taken up by another instance after the first byte.', () => this.#resumes);
    table.total(
      { name: 'sluice_router_move_transitions_total', help: 'States that moves of running streams entered.' },
      () => counted(this.#transitions, 'state'),
      ['state'],
    );
    table.total(
      { name: 'sluice_router_moves_aborted_total', help: 'Moves that were given up, by reason; the stream went on all the same.' },
      () => counted(this.#aborted, 'reason'),
      ['reason'],
    );
    total('moved_blocks', 'KV blocks pulled by the targets of moves.', () => this.#movedBlocks);
    total('moved_bytes', 'KV bytes pulled by the targets of moves.', () => this.#movedBytes);
    total('moves_recomputed', 'Streams of drained instances that another one computed again.', () => this.#recomputed);
    total('pairs', 'Requests prefilled on one instance and decoded on another.', () => this.#pairs);
    total('alone', 'Requests that one instance did alone.', () => this.#alone);
    total('output_tokens', 'Tokens generated for clients.', () => this.#outputTokens);
    const forwarded = () => Object.entries(forwarder.outcomes).map(([outcome, value]) => ({ value, labels: { outcome } }));
    table.total({ name: 'sluice_router_forwarded_total', help: 'Requests passed on to other routers, by outcome.' }, forwarded, [
      'outcome',
    ]);
    const gauge = (name: string, help: string, read: () => number) =>
      table.gauge({ name: `sluice_router_${name}`, help }, () => [{ value: read() }]);
    gauge('in_flight', 'Requests being served.', () => admission.inFlight);
    gauge('queued', 'Requests waiting for admission.', () => admission.queued);
    const perInstance = (name: string, help: string, read: (instance: Registry['instances'][number]) => number) =>
      table.gauge(
        { name: `sluice_router_${name}`, help },
        () => registry.instances.map((instance) => ({ value: read(instance), labels: { instance: instance.id, role: instance.role } })),
        ['instance', 'role'],
      );
    perInstance('instance_in_flight', 'Requests of this router on the instance.', (instance) => instance.inFlight);
    perInstance('instance_connected', '1 while the router has a live feed from the instance.', (instance) => Number(instance.connected));
    this.#addKv(registry, { sources, hints });
    if (spans !== null) this.#addSpans(spans);
  }

  #addSpans(spans: SpanExporter): void {
    const table = this.#table;
    table.total({ name: 'sluice_router_spans_exported_total', help: 'Spans that the collector took.' }, () => [{ value: spans.exported }]);
    table.total(
      { name: 'sluice_router_spans_dropped_total', help: 'Spans that no collector took, by reason; requests went on all the same.' },
      () => counted(spans.dropped, 'reason'),
      ['reason'],
    );
    table.gauge({ name: 'sluice_router_spans_queued', help: 'Spans that wait for the collector.' }, () => [{ value: spans.queued }]);
  }

  #addKv(registry: Registry, { sources, hints }: Pick<MeasuredParts, 'sources' | 'hints'>): void {
    const table = this.#table;
    const servers = [
      ...(hints ? [{ server: 'redis', away: () => hints.away }] : []),
      ...(sources ? [{ server: 'nats', away: () => sources.away }] : []),
    ];
    if (servers.length === 0) return;
    table.gauge(
      { name: 'sluice_router_kv_server_up', help: '1 while the server of the KV tier is used, 0 while requests go on without it.' },
      () => servers.map(({ server, away }) => ({ value: Number(away() === null), labels: { server } })),
      ['server'],
    );
    table.gauge(
      {
        name: 'sluice_router_block_sources',
        help: 'Instances by how it is known what they hold: by the event log, by their own feed, or not yet.',
      },
      () =>
        SOURCES.map((source) => ({
          value: registry.instances.filter((one) => registry.sourceOf(one) === source).length,
          labels: { source },
        })),
      ['source'],
    );
    if (hints) {
      table.total(
        { name: 'sluice_router_directory_lookups_total', help: 'Requests that asked the shared directory, by what it answered.' },
        () => Object.entries(hints.outcomes).map(([outcome, value]) => ({ value, labels: { outcome } })),
        ['outcome'],
      );
    }
    if (!sources) return;
    const total = (name: string, help: string, read: () => number) =>
      table.total({ name: `sluice_router_event_log_${name}_total`, help }, () => [{ value: read() }]);
    total('events', 'Events read from the event log.', () => sources.stats.events);
    total('snapshots', 'Snapshots read from the event log.', () => sources.stats.snapshots);
    total('gaps', 'Holes in the event log, each followed by a snapshot.', () => sources.stats.gaps);
    total('unreadable', 'Messages of the event log that could not be read.', () => sources.stats.unreadable);
  }

  ended(record: RequestRecord): void {
    if (record.outcome !== null) this.#outcomes[record.outcome] += 1;
    this.#queued.observe(record.queuedMs / 1000);
    this.#resumes += record.resumes;
    this.#retries += Math.max(0, record.attempts.length - 1 - record.resumes);
    this.#outputTokens += record.outputTokens;
    if (record.outcome !== 'ok') return;
    if (record.attempts.at(-1)?.decision.chosen.prefill === null) this.#alone += 1;
    else this.#pairs += 1;
    if (record.totalMs !== null) this.#whole.observe(record.totalMs / 1000);
    if (record.ttftMs !== null) this.#ttft.observe(record.ttftMs / 1000);
    if (record.tpotMs !== null) this.#tpot.observe(record.tpotMs / 1000);
  }

  moveWent({ next }: Transition): void {
    this.#transitions[next.state] += 1;
  }

  /** A move is over. */
  moved({ way, reason, pauseMs, blocks, bytes }: MoveRecord): void {
    if (way === 'recompute') this.#recomputed += 1;
    if (reason !== null) this.#aborted[reason] += 1;
    this.#movedBlocks += blocks;
    this.#movedBytes += bytes;
    if (pauseMs !== null) this.#pause.observe(pauseMs / 1000);
  }

  #byOutcome() {
    return counted(this.#outcomes, 'outcome');
  }

  /** Prometheus text. */
  text(): Promise<string> {
    return this.#table.text();
  }
}

function counted(counts: Readonly<Record<string, number>>, label: string) {
  return Object.entries(counts).map(([name, value]) => ({ value, labels: { [label]: name } }));
}
