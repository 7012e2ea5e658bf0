/** A router over scripted vLLM instances. */
import type { Role } from '../../src/engines/index.ts';
import type { RequestRecord, RunningRouter } from '../../src/router/index.ts';
import { type Json, LONG_PROMPT, MODEL, recordAt, type Streamed, startTestRouter, stream, until } from './router-fixture.ts';
import { type Asked, type Mishap, NONE, ScriptedVllm } from './vllm-script.ts';

export const DEADLINES = { prefillMs: 600, pullMs: 300, firstTokenMs: 1500, idleMs: 800, totalMs: 8000 };
const TIMEOUT_MS = 10_000;

export class NixlBed {
  readonly engines: readonly ScriptedVllm[];
  readonly router: RunningRouter;
  #prompts = 0;

  private constructor(engines: readonly ScriptedVllm[], router: RunningRouter) {
    this.engines = engines;
    this.router = router;
  }

  /** @param prepare an engine before it is met by the router */
  static async start(
    counts: Readonly<Record<'prefill' | 'decode', number>>,
    config: object = {},
    prepare: (engine: ScriptedVllm) => void = () => undefined,
  ): Promise<NixlBed> {
    const make = (role: Role, count: number) => Array.from({ length: count }, (_, index) => new ScriptedVllm(`${role}-${index}`, role));
    const engines = [...make('prefill', counts.prefill), ...make('decode', counts.decode)];
    for (const engine of engines) prepare(engine);
    const urls = await Promise.all(engines.map((engine) => engine.listen()));
    const bed = new NixlBed(engines, await startTestRouter({ deadlines: DEADLINES, ...config }));
    const instances = engines.map(({ id, role, incarnation }, index) => {
      return { id, role, incarnation, url: urls[index], transfer: { host: '127.0.0.1', port: 1 }, draining: false };
    });
    await bed.admin('PUT', '/admin/instances', { generation: 1, model: MODEL, instances });
    // The names of prompts, too, are there only after a while; and until all are proven, probes make some of them busy.
    await until(async () => (await fetch(`${bed.router.url}/readyz`)).status === 200);
    await until(async () => ((await bed.admin('GET', '/admin/instances'))['instances'] as Json[]).every((one) => one['proven'] === true));
    return bed;
  }

  async close(): Promise<void> {
    await this.router.stop(0);
    for (const engine of this.engines) engine.close();
  }

  of(role: 'prefill' | 'decode'): readonly ScriptedVllm[] {
    return this.engines.filter((engine) => engine.role === role);
  }

  /** All that clients' requests led to, by leg. */
  asked(leg: Asked['leg']): readonly Asked[] {
    return this.engines.flatMap((engine) => engine.served.filter((asked) => asked.leg === leg));
  }

  get deaths(): readonly string[] {
    return this.engines.flatMap(({ dead }) => dead ?? []);
  }

  /** The first instance to get such a leg has the mishap; the others are well, and it too if `once`. */
  strike(leg: Asked['leg'] | 'any', mishap: Mishap, once = false): void {
    let struck: ScriptedVllm | null = null;
    let times = 0;
    for (const engine of this.engines) {
      engine.mishap = (asked) => {
        if (asked.probe || (leg !== 'any' && asked.leg !== leg) || (leg === 'any' && asked.leg === 'prefill')) return NONE;
        struck ??= engine;
        times += 1;
        return struck === engine && (!once || times === 1) ? mishap : NONE;
      };
    }
  }

  heal(): void {
    for (const engine of this.engines) {
      engine.mishap = () => NONE;
      engine.merge = 1;
      engine.asked.length = 0;
    }
  }

  /** Long enough for the prefill pool, and never seen before. */
  prompt(): string {
    this.#prompts += 1;
    return `Number ${this.#prompts}. ${LONG_PROMPT}`;
  }

  stream(path: string, body: object): Promise<Streamed> {
    return stream(this.router.url, path, body);
  }

  /** What one instance says without a router, which does not hear of the prompt. */
  async alone(path: string, body: object): Promise<Streamed> {
    const answer = await stream(`http://${this.engines[0]?.engineHost}`, path, body);
    this.heal();
    return answer;
  }

  async post(
    path: string,
    body: object,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<{ status: number; json: Json; id: string }> {
    const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, signal: AbortSignal.timeout(TIMEOUT_MS) };
    const answer = await fetch(`${this.router.url}${path}`, { ...init, body: JSON.stringify({ model: MODEL, ...body }) });
    return { status: answer.status, json: (await answer.json()) as Json, id: String(answer.headers.get('x-request-id')) };
  }

  async admin(method: 'GET' | 'PUT', path: string, body?: unknown): Promise<Json> {
    const init = body === undefined ? { method } : { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
    return (await (await fetch(`${this.router.adminUrl}${path}`, init)).json()) as Json;
  }

  record(id: string | null): Promise<RequestRecord> {
    return recordAt(this.router.adminUrl, id);
  }

  async nothingLeft(): Promise<void> {
    await until(async () => Object.values(await this.admin('GET', '/admin/leftovers')).every((count) => count === 0));
  }
}
