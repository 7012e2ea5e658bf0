/** The bench's end of the load generator. */
import { fileURLToPath } from 'node:url';
import type { Child, Children } from './children.ts';
import type { FromGenerator, LoadJob, LoadResult, ToGenerator } from './load-job.ts';

const START_LIMIT_MS = 20_000;
/** Beyond a job's own limits. */
const SLACK_MS = 20_000;

export class LoadGenerator {
  readonly #child: Child;

  private constructor(child: Child) {
    this.#child = child;
  }

  static async start(children: Children, cores: readonly number[] | null): Promise<LoadGenerator> {
    const script = fileURLToPath(new URL('./generator.ts', import.meta.url));
    // Few and large young-generation collections: its pauses would show as latency of what is measured.
    const command = [process.execPath, '--max-semi-space-size=64', script];
    const generator = new LoadGenerator(children.start('load generator', command, { cores, ipc: true }));
    await generator.#next(START_LIMIT_MS);
    return generator;
  }

  /** Runs one job to its end. Throws when the generator itself fails; errors of answers are counted in the result. */
  async run(job: LoadJob): Promise<LoadResult> {
    const ms = job.shape.kind === 'closed' ? job.shape.seconds * 1000 : (job.shape.arrivalsMs.at(-1) ?? 0);
    const answer = this.#next(ms + job.patienceMs + SLACK_MS);
    const message: ToGenerator = { type: 'job', job };
    this.#child.process.send(message);
    const reply = await answer;
    if (reply.type === 'result') return reply.result;
    throw new Error(reply.type === 'failed' ? `load generator: ${reply.reason}` : 'load generator: answered out of turn');
  }

  #next(limitMs: number): Promise<FromGenerator> {
    const { process: child } = this.#child;
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        child.off('message', onMessage);
        child.off('exit', onExit);
      };
      const onMessage = (message: FromGenerator) => {
        settle();
        resolve(message);
      };
      const onExit = () => {
        settle();
        reject(new Error(`load generator ended: ${this.#child.tail()}`));
      };
      const timer = setTimeout(() => {
        settle();
        reject(new Error(`load generator did not answer within ${limitMs} ms`));
      }, limitMs);
      child.on('message', onMessage);
      child.on('exit', onExit);
    });
  }
}
