import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadHuggingFaceTokenizer } from '../../huggingface/index.ts';
import { readRecordedIds } from '../../huggingface/recorded.fixture.ts';
import { safetensorsBytes } from './safetensors.ts';
import { ensureTinyModelFolder, TINY_MODEL, tinyWeights } from './tinymodel.ts';

let cache: string;
let folder: string;
beforeAll(() => {
  cache = mkdtempSync(join(tmpdir(), 'sluice-tiny-vllm-'));
  folder = ensureTinyModelFolder(cache);
}, 60_000);
afterAll(() => rmSync(cache, { recursive: true, force: true }));

const file = (name: string) => readFileSync(join(folder, name));
const json = (name: string) => JSON.parse(file(name).toString('utf8'));

describe('the built-in model of vLLM', () => {
  it('is written once, whole, and leaves nothing else behind', () => {
    expect(ensureTinyModelFolder(cache)).toBe(folder);
    expect(readdirSync(cache)).toEqual([folder.slice(folder.lastIndexOf('/') + 1)]);
    expect(readdirSync(folder).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
  });

  it('has the same bytes on every machine', () => {
    const sha256 = createHash('sha256').update(file('model.safetensors')).digest('hex');
    expect(sha256).toBe('c6cc9493abc0487242bfa3554973290da886a9b5fbd955e69bb7cca8d2b56f65');
  });

  it('has another folder, and other weights, for other options', () => {
    const small = { ...TINY_MODEL, layers: 1, hidden: 16, heads: 2, kvHeads: 1, feedForward: 16 };
    expect(ensureTinyModelFolder(cache, small)).not.toBe(folder);
    expect(tinyWeights(small)).not.toEqual(tinyWeights({ ...small, seed: 2 }));
    expect(tinyWeights(small)).toEqual(tinyWeights(small));
  });

  it('has tensors of the shapes that its configuration says', () => {
    const bytes = file('model.safetensors');
    const length = Number(bytes.readBigUInt64LE());
    const { __metadata__, ...tensors } = JSON.parse(bytes.subarray(8, 8 + length).toString('utf8'));
    const { hidden_size, vocab_size, num_hidden_layers, num_key_value_heads, head_dim, max_position_embeddings } = json('config.json');
    expect(__metadata__).toEqual({ format: 'pt' });
    expect(Object.keys(tensors)).toHaveLength(3 + 9 * num_hidden_layers);
    expect(tensors['lm_head.weight']).toMatchObject({ dtype: 'F32', shape: [vocab_size, hidden_size] });
    expect(tensors['model.layers.3.self_attn.k_proj.weight'].shape).toEqual([num_key_value_heads * head_dim, hidden_size]);
    expect(Math.max(...Object.values<{ data_offsets: number[] }>(tensors).map((tensor) => tensor.data_offsets[1] ?? 0))).toBe(
      bytes.length - 8 - length,
    );
    expect(max_position_embeddings).toBe(8_192);
  });

  it('has a token for each byte, after its BOS', () => {
    const tokenizer = loadHuggingFaceTokenizer(folder);
    expect([...tokenizer.encode('é\n')]).toEqual([256, 0xc3, 0xa9, 0x0a]);
    expect(tokenizer.vocabularySize).toBe(260);
    expect(Array.from({ length: 256 }, (_, byte) => tokenizer.piece(byte)[0])).toEqual(Array.from({ length: 256 }, (_, byte) => byte));
  });

  it('tokenizes as Transformers does', () => {
    const tokenizer = loadHuggingFaceTokenizer(folder);
    const { texts, chats } = readRecordedIds(readFileSync(new URL('./fixtures/tinymodel-ids.jsonl', import.meta.url), 'utf8'));
    expect(texts.length + chats.length).toBeGreaterThan(60);
    for (const [text, ids] of texts) expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(ids);
    for (const [messages, ids] of chats) expect([...tokenizer.encodeChat(messages)]).toEqual(ids);
  });

  it('refuses shapes that have no rotary halves', () => {
    expect(() => tinyWeights({ ...TINY_MODEL, hidden: 100 })).toThrow('hidden must be a multiple');
  });
});

describe('safetensorsBytes', () => {
  it('aligns the data, and keeps its order', () => {
    const bytes = Buffer.from(
      safetensorsBytes([
        { name: 'a', shape: [2], values: Float32Array.of(1, 2) },
        { name: 'b', shape: [1, 1], values: Float32Array.of(3) },
      ]),
    );
    const length = Number(bytes.readBigUInt64LE());
    expect(length % 8).toBe(0);
    expect([0, 4, 8].map((at) => bytes.readFloatLE(8 + length + at))).toEqual([1, 2, 3]);
    expect(JSON.parse(bytes.subarray(8, 8 + length).toString())).toMatchObject({
      b: { dtype: 'F32', shape: [1, 1], data_offsets: [8, 12] },
    });
  });

  it('refuses values that do not fill the shape', () => {
    expect(() => safetensorsBytes([{ name: 'a', shape: [3], values: Float32Array.of(1) }])).toThrow('a has 1 values, expected 3');
  });
});
