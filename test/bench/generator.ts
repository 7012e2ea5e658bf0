/**
 * The load generator: a process of its own, so that its work is on another core than what it measures. Started by `load.ts`, it
 * takes jobs over IPC one by one and ends when the channel does.
 */
import { Worker } from 'node:worker_threads';
import { FRESH_MARK } from './bodies.ts';
import { Connection, type Outcome } from './connection.ts';
import type { Answer, FromGenerator, LoadJob, LoadResult, ToGenerator } from './load-job.ts';
import { quantiles } from './quantiles.ts';
import { monotonicMs, type TickerPlan } from './ticker.ts';

const MOST_ANSWERS = 2_000_000;
const MOST_EXAMPLES = 5;
/** A closed loop against something that only fails stops here instead of spinning. */
const MOST_ERRORS = 1000;

let freshNumber = process.pid * 1_000_000;

/** Collects outcomes of one job. */
class Tally {
  readonly answers: Answer[] = [];
  readonly examples: string[] = [];
  errors = 0;

  add(outcome: Outcome): void {
    if (!('error' in outcome)) {
      if (this.answers.length < MOST_ANSWERS) this.answers.push(outcome);
      return;
    }
    this.errors += 1;
    if (this.examples.length < MOST_EXAMPLES && !this.examples.includes(outcome.error)) this.examples.push(outcome.error);
  }

  result(wallMs: number, detail: boolean): LoadResult {
    const tokens = this.answers.reduce((sum, answer) => sum + answer.tokens, 0);
    return {
      completed: this.answers.length,
      answers: detail ? this.answers : [],
      wallMs,
      tokens,
      latencyMs: quantiles(this.answers.map((answer) => answer.latencyMs)),
      ttftMs: quantiles(this.answers.map((answer) => answer.ttftMs)),
      tpotMs: quantiles(this.answers.flatMap((answer) => (answer.tpotMs === null ? [] : [answer.tpotMs]))),
      requestsPerSecond: (this.answers.length * 1000) / wallMs,
      errors: this.errors,
      errorExamples: this.examples,
    };
  }
}

/** Makes the next request's bytes: a new array where a fresh number goes in, the same one otherwise. */
function requestSource(job: LoadJob): () => Buffer {
  const requests = job.bodies.map((body) => {
    const length = Buffer.byteLength(body);
    const head = `POST ${job.path} HTTP/1.1\r\nHost: ${job.host}\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;
    const bytes = Buffer.from(head + body);
    return { bytes, mark: bytes.indexOf(FRESH_MARK) };
  });
  let next = 0;
  return () => {
    const request = requests[next % requests.length];
    next += 1;
    if (!request) throw new Error('a job without bodies');
    if (request.mark < 0) return request.bytes;
    freshNumber += 1;
    const bytes = Buffer.from(request.bytes);
    bytes.write(String(freshNumber).padStart(FRESH_MARK.length, '0'), request.mark, 'latin1');
    return bytes;
  };
}

function connectionOf(job: LoadJob, index: number): Connection {
  const port = job.ports[index % job.ports.length];
  if (port === undefined) throw new Error('a job without ports');
  return new Connection({ host: job.host, port }, job.stream);
}

async function runJob(job: LoadJob): Promise<LoadResult> {
  const tally = new Tally();
  const source = requestSource(job);
  const began = monotonicMs();
  await (job.shape.kind === 'closed' ? closedLoop(job, job.shape, source, tally) : openLoop(job, job.shape, source, tally));
  return tally.result(monotonicMs() - began, job.detail);
}

/** Every connection sends its next request when it has the answer to the last one. */
function closedLoop(job: LoadJob, shape: { connections: number; seconds: number }, source: () => Buffer, tally: Tally): Promise<void> {
  return new Promise((resolve) => {
    const until = monotonicMs() + shape.seconds * 1000;
    const connections = Array.from({ length: shape.connections }, (_, index) => connectionOf(job, index));
    let busy = shape.connections;
    const patience = setTimeout(() => closeAll(connections, 'no whole answer in time'), shape.seconds * 1000 + job.patienceMs);
    const turn = (connection: Connection): void => {
      if (monotonicMs() < until && tally.errors < MOST_ERRORS) {
        connection.send(source(), monotonicMs(), (outcome) => {
          tally.add(outcome);
          setImmediate(turn, connection);
        });
        return;
      }
      busy -= 1;
      if (busy > 0) return;
      clearTimeout(patience);
      closeAll(connections, 'job over');
      resolve();
    };
    for (const connection of connections) turn(connection);
  });
}

/** Requests start when planned, whatever the answers do: slow answers do not thin out the load. */
function openLoop(
  job: LoadJob,
  shape: { arrivalsMs: readonly number[]; maxConnections: number },
  source: () => Buffer,
  tally: Tally,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (shape.arrivalsMs.length === 0) return resolve();
    const plan: TickerPlan = { startMs: monotonicMs() + 60, arrivalsMs: shape.arrivalsMs };
    const idle: Connection[] = [];
    const connections: Connection[] = [];
    const waiting: number[] = [];
    let ended = 0;
    const ticker = new Worker(new URL('./ticker.ts', import.meta.url), { workerData: plan });
    const finish = () => {
      clearTimeout(patience);
      closeAll(connections, 'job over');
      void ticker.terminate().then(() => resolve(), reject);
    };
    const patience = setTimeout(
      () => {
        const missing = shape.arrivalsMs.length - ended;
        for (let count = 0; count < missing; count += 1) tally.add({ error: 'no whole answer in time' });
        ended = Number.NEGATIVE_INFINITY;
        finish();
      },
      (shape.arrivalsMs.at(-1) ?? 0) + job.patienceMs,
    );
    const send = (connection: Connection, plannedMs: number): void => {
      connection.send(source(), plannedMs, (outcome) => {
        if (ended < 0) return;
        tally.add(outcome);
        ended += 1;
        if (ended === shape.arrivalsMs.length) return finish();
        const next = waiting.shift();
        if (next === undefined) idle.push(connection);
        else setImmediate(send, connection, next);
      });
    };
    ticker.on('error', reject);
    ticker.on('message', (index: number) => {
      const plannedMs = plan.startMs + (plan.arrivalsMs[index] ?? 0);
      let connection = idle.pop();
      if (!connection && connections.length < shape.maxConnections) {
        connection = connectionOf(job, connections.length);
        connections.push(connection);
      }
      if (connection) send(connection, plannedMs);
      else waiting.push(plannedMs);
    });
  });
}

function closeAll(connections: readonly Connection[], reason: string): void {
  for (const connection of connections) connection.close(reason);
}

function tell(message: FromGenerator): void {
  process.send?.(message);
}

process.on('disconnect', () => process.exit(0));
process.on('message', (message: ToGenerator) => {
  runJob(message.job).then(
    (result) => tell({ type: 'result', result }),
    (error: unknown) => tell({ type: 'failed', reason: error instanceof Error ? error.message : String(error) }),
  );
});
tell({ type: 'ready' });
