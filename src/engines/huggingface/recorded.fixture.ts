/** Tokenizers that were trained for these tests, and the ids that Transformers 5.19.0 (tokenizers 0.23.3) gives with them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { ChatMessage } from '../port.ts';

const ids = z.array(z.int());
const recordedIds = z.object({
  texts: z.array(z.tuple([z.string(), ids])),
  chats: z.array(z.tuple([z.array(z.object({ role: z.string(), content: z.string() })), ids])),
});

export interface RecordedIds {
  readonly texts: readonly (readonly [string, readonly number[]])[];
  readonly chats: readonly (readonly [readonly ChatMessage[], readonly number[]])[];
}

export function readRecordedIds(json: string): RecordedIds {
  return recordedIds.parse(JSON.parse(json));
}

/** Writes the tokenizer `name` as a folder inside `parent`. @returns that folder and what was recorded with it */
export function unpackTokenizer(name: 'bytelevel' | 'sentencepiece', parent: string): { folder: string; recorded: RecordedIds } {
  const text = readFileSync(new URL(`./fixtures/${name}.jsonl`, import.meta.url), 'utf8');
  const [tokenizer = '', config = '', template = '', recorded = ''] = text.split('\n');
  const folder = join(parent, name);
  mkdirSync(folder);
  writeFileSync(join(folder, 'tokenizer.json'), tokenizer);
  writeFileSync(join(folder, 'tokenizer_config.json'), config);
  writeFileSync(join(folder, 'chat_template.jinja'), z.string().parse(JSON.parse(template)));
  return { folder, recorded: readRecordedIds(recorded) };
}
