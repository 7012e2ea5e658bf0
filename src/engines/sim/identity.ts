import type { KvIdentity } from '../../kv/index.ts';

/** What names the KV of a simulated engine: engines of one model and shape can exchange theirs. */
export function simIdentity(shape: {
  readonly modelName: string;
  readonly bytesPerBlock: number;
  readonly blockTokens: number;
}): KvIdentity {
  return {
    model: `simulated:${shape.modelName}`,
    revision: '1',
    tokenizer: 'bytes4',
    rope: 'none',
    adapter: '',
    dtype: 'simulated',
    layout: `simulated/${shape.bytesPerBlock}`,
    blockTokens: shape.blockTokens,
  };
}
