/**
 * Simulated vLLM instances that answer at once, many in one process as Dynamo's mocker has them, so that what they cost the machine does
 * not hide what fronts cost. They have a real tokenizer, because the front shall have one. Started with an IPC channel: says where its
 * engines are, and ends when the channel does.
 */
import { FREE_COSTS } from '../../src/api/facts/index.ts';
import { createEngineServer, createSimEngine, nixlDialect, type Role, type Tokenizer } from '../../src/engines/index.ts';
import { loadTokenizer } from '../../src/engines/tokenizers/index.ts';
import { systemClock } from '../../src/shared/index.ts';
import { createLogger } from '../../src/telemetry/index.ts';
import { isRecord, MODEL } from './sluice.ts';

export interface EngineGroup {
  readonly role: Role;
  readonly count: number;
  readonly blockTokens: number;
  /** Folder with a tokenizer. */
  readonly model: string;
}

export interface ListeningEngine {
  readonly id: string;
  readonly role: Role;
  readonly url: string;
  readonly incarnation: string;
  readonly transfer: { readonly host: string; readonly port: number };
}

export type FromEngines = { readonly type: 'listening'; readonly engines: readonly ListeningEngine[] };

const HOST = '127.0.0.1';
async function serve({ role, count, blockTokens, model }: EngineGroup): Promise<ListeningEngine[]> {
  const source = { kind: 'huggingface', path: model } as const;
  const real = await loadTokenizer(source);
  const logger = createLogger({ name: role, level: 'error', format: 'json' });
  const engines: ListeningEngine[] = [];
  for (let index = 0; index < count; index += 1) {
    const common = { role, blockTokens, modelName: MODEL, clock: systemClock, dialect: 'nixl' } as const;
    const core = await createSimEngine({ ...common, instance: `${role}-${index}`, maxSequences: 64, costs: FREE_COSTS });
    Object.assign(core, { info: { ...core.info, tokenizer: source }, tokenizer: readingWith(real, core.tokenizer) });
    const server = createEngineServer({ core, logger, clock: systemClock, dialect: nixlDialect(core, systemClock) });
    const { url } = await server.listen(HOST, 0);
    const { instance, incarnation, transfer } = core.info;
    engines.push({ id: instance, role, url, incarnation, transfer });
  }
  return engines;
}

/** Prompts are read with the real tokenizer; what an engine says is in the words of its own. */
function readingWith(real: Tokenizer, own: Tokenizer): Tokenizer {
  return {
    vocabularySize: own.vocabularySize,
    encode: (text) => real.encode(text),
    encodeChat: (messages) => real.encodeChat(messages),
    piece: (token) => own.piece(token),
  };
}

function isGroup(value: unknown): value is EngineGroup {
  return isRecord(value) && typeof value['role'] === 'string' && typeof value['count'] === 'number' && typeof value['model'] === 'string';
}

const wanted: unknown = JSON.parse(process.argv[2] ?? 'null');
if (!isGroup(wanted)) throw new Error('started by peers-ours.ts with an EngineGroup as its argument');
process.on('disconnect', () => process.exit(0));
const message: FromEngines = { type: 'listening', engines: await serve(wanted) };
process.send?.(message);
