import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describeModel, elementOf, elementsPerToken, identityOf } from './describe.ts';
import { writeModelFiles } from './fakevllm.fixture.ts';
import { hubSnapshot } from './hub.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'model-test-'));
  writeModelFiles(folder);
});

afterEach(() => rmSync(folder, { recursive: true }));

describe('describeModel', () => {
  it('counts bytes of KV', async () => {
    expect(await describeModel(folder, 'float32')).toMatchObject({ dtype: 'float32', bytesPerToken: 4096, vocabulary: 258 });
    expect(await describeModel(folder, 'auto')).toMatchObject({ dtype: 'bfloat16', bytesPerToken: 2048 });
  });

  it('tells models apart by configuration, weights and tokenizer, not by place', async () => {
    const first = await describeModel(folder, 'auto');
    const other = join(folder, 'other');
    mkdirSync(other);
    writeModelFiles(other);
    expect(await describeModel(other, 'auto')).toEqual(first);
    writeFileSync(join(other, 'model.safetensors'), 'weightz');
    expect((await describeModel(other, 'auto')).model).not.toBe(first.model);
    writeFileSync(join(other, 'chat_template.jinja'), 'x');
    expect((await describeModel(other, 'auto')).tokenizer).not.toBe(first.tokenizer);
  });

  it('says what is missing', async () => {
    rmSync(join(folder, 'tokenizer.json'));
    await expect(describeModel(folder, 'auto')).rejects.toThrow(
      /tokenizer\.json cannot be used .*complete folder of the Hugging Face kind/,
    );
    writeFileSync(join(folder, 'config.json'), '[]');
    await expect(describeModel(folder, 'auto')).rejects.toThrow(/config\.json cannot be used \(it is no JSON object\)/);
  });

  it('hands nothing over between layouts, such as those of two versions', async () => {
    const description = await describeModel(folder, 'auto');
    const identity = (layout: string) => identityOf(description, { revision: '', layout, blockTokens: 32 });
    expect(identity('vllm/0.32.0')).not.toEqual(identity('vllm/0.33.0'));
  });
});

it.each([
  [{ num_hidden_layers: 2, num_attention_heads: 8, hidden_size: 512 }, 2 * 2 * 8 * 64],
  [{ num_hidden_layers: 2, num_attention_heads: 8, num_key_value_heads: 2, hidden_size: 512, head_dim: 128 }, 2 * 2 * 2 * 128],
  [{ num_hidden_layers: 61, kv_lora_rank: 512, qk_rope_head_dim: 64 }, 61 * 576],
])('counts elements of %j', (config, elements) => expect(elementsPerToken(config)).toBe(elements));

it('follows the weights with auto, but for 32-bit ones', () => {
  expect(elementOf({ torch_dtype: 'float16' }, 'auto')).toBe('float16');
  expect(elementOf({ dtype: 'float32' }, 'auto')).toBe('bfloat16');
  expect(elementOf({ dtype: 'float16' }, 'float32')).toBe('float32');
});

describe('hubSnapshot', () => {
  const commit = 'a'.repeat(40);

  it('finds what vLLM has loaded', async () => {
    const refs = join(folder, 'hub', 'models--org--name', 'refs');
    mkdirSync(refs, { recursive: true });
    writeFileSync(join(refs, 'main'), commit);
    const expected = { folder: join(folder, 'hub', 'models--org--name', 'snapshots', commit), revision: commit };
    expect(await hubSnapshot('org/name', null, { HF_HOME: folder })).toEqual(expected);
    expect(await hubSnapshot('org/name', 'main', { HF_HUB_CACHE: join(folder, 'hub') })).toEqual(expected);
    expect(await hubSnapshot('org/name', commit, { HOME: '/root', HF_HOME: folder })).toEqual(expected);
  });

  it('says where it looked for it', async () => {
    await expect(hubSnapshot('org/none', null, { HOME: folder })).rejects.toThrow(/set HF_HOME or HF_HUB_CACHE/);
  });
});
