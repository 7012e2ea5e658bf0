import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadTokenizer } from '../tokenizers/tokenizers.ts';
import { type RecordedIds, unpackTokenizer } from './recorded.fixture.ts';
import { loadHuggingFaceTokenizer } from './tokenizer.ts';

let parent: string;
beforeAll(() => {
  parent = mkdtempSync(join(tmpdir(), 'sluice-hf-'));
});
afterAll(() => rmSync(parent, { recursive: true, force: true }));

describe.each(['bytelevel', 'sentencepiece'] as const)('a tokenizer of kind %s', (name) => {
  let folder: string;
  let recorded: RecordedIds;
  beforeAll(() => {
    ({ folder, recorded } = unpackTokenizer(name, parent));
  });

  it('gives the ids of Transformers', () => {
    const tokenizer = loadHuggingFaceTokenizer(folder);
    expect(recorded.texts.length).toBeGreaterThan(50);
    for (const [text, ids] of recorded.texts) expect([...tokenizer.encode(text)], JSON.stringify(text)).toEqual(ids);
  });

  it('writes chats as the template has them', () => {
    const tokenizer = loadHuggingFaceTokenizer(folder);
    expect(recorded.chats.length).toBeGreaterThan(1);
    for (const [messages, ids] of recorded.chats) expect([...tokenizer.encodeChat(messages)]).toEqual(ids);
  });

  it('gives back the bytes of a text, and none of special tokens', () => {
    const tokenizer = loadHuggingFaceTokenizer(folder);
    const bytes = (text: string) => Buffer.concat([...tokenizer.encode(text)].map((token) => tokenizer.piece(token)));
    const text = 'Ünïcödé 你好 👨‍👩‍👧 <|bos|>!';
    const expected = name === 'bytelevel' ? text.replace('<|bos|>', '') : ` ${text}`;
    expect(bytes(text).toString('utf8')).toBe(expected);
  });

  it('knows the size of its vocabulary, and nothing beyond it', () => {
    const tokenizer = loadHuggingFaceTokenizer(folder);
    expect(tokenizer.vocabularySize).toBe(name === 'bytelevel' ? 700 : 600);
    expect([...tokenizer.piece(tokenizer.vocabularySize)]).toEqual([]);
    expect([...tokenizer.piece(-1)]).toEqual([]);
  });

  it('is what an engine that names its folder gets', async () => {
    const tokenizer = await loadTokenizer({ kind: 'huggingface', path: folder });
    expect([...tokenizer.encode('a')]).toEqual([...loadHuggingFaceTokenizer(folder).encode('a')]);
  });
});

describe('a folder', () => {
  const folder = (name: string, change: (path: string) => void) => {
    const base = mkdtempSync(join(parent, `${name}-`));
    const { folder: path } = unpackTokenizer('bytelevel', base);
    change(path);
    return path;
  };
  const edit = (path: string, file: string, change: (json: Record<string, unknown>) => void) => {
    const json = JSON.parse(readFileSync(join(path, file), 'utf8'));
    change(json);
    writeFileSync(join(path, file), JSON.stringify(json));
  };
  const messages = [{ role: 'user', content: 'hi' }];

  it.each([
    [
      'without the tokenizer',
      (path: string) => rmSync(join(path, 'tokenizer.json')),
      /there is no file .*tokenizer\.json: a model folder needs/,
    ],
    ['with half of it', (path: string) => writeFileSync(join(path, 'tokenizer.json'), '{"model"'), /tokenizer\.json is not JSON/],
    ['with another kind of file', (path: string) => writeFileSync(join(path, 'tokenizer.json'), '{}'), /tokenizer\.json: model is not as/],
    [
      'with a model of an unknown kind',
      (path: string) => edit(path, 'tokenizer.json', (json) => Object.assign(json, { model: { type: 'Runes' } })),
      /the tokenizer of .* cannot be used/,
    ],
  ])('%s is refused by name', (name, change, message) => {
    expect(() => loadHuggingFaceTokenizer(folder(name.replaceAll(' ', '-'), change))).toThrow(message);
  });

  it('may have its chat template in the configuration, alone or among several', () => {
    const plain = folder('plain', (path) => {
      rmSync(join(path, 'chat_template.jinja'));
      edit(path, 'tokenizer_config.json', (json) => Object.assign(json, { chat_template: '{{ messages[0].content }}!' }));
    });
    const tokenizer = loadHuggingFaceTokenizer(plain);
    expect([...tokenizer.encodeChat(messages)]).toEqual([...tokenizer.encode('hi!')].slice(1));
    edit(plain, 'tokenizer_config.json', (json) =>
      Object.assign(json, {
        chat_template: [
          { name: 'tool_use', template: 'x' },
          { name: 'default', template: '{{ messages[0].content }}?' },
        ],
      }),
    );
    expect([...loadHuggingFaceTokenizer(plain).encodeChat(messages)]).toEqual([...tokenizer.encode('hi?')].slice(1));
  });

  it('without a chat template takes no chats', () => {
    const path = folder('none', (inside) => rmSync(join(inside, 'chat_template.jinja')));
    expect(() => loadHuggingFaceTokenizer(path).encodeChat(messages)).toThrow('no chat template');
  });

  it('whose template refuses the messages says so', () => {
    const path = folder('refuses', (inside) =>
      writeFileSync(join(inside, 'chat_template.jinja'), "{{ raise_exception('roles must alternate') }}"),
    );
    expect(() => loadHuggingFaceTokenizer(path).encodeChat(messages)).toThrow(/refuses these messages: .*roles must alternate/);
  });
});
