/** The files of a Hugging Face folder that a tokenizer is made of. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';

/** The largest ones in use have some 35 MB. */
const MAX_BYTES = 256 * 2 ** 20;

// How a token is looked for in a text stands in further fields.
const addedToken = z.looseObject({ id: z.int().min(0), content: z.string(), special: z.boolean() });
const tokenizerFile = z.looseObject({
  added_tokens: z.array(addedToken).default([]),
  decoder: z.unknown().optional(),
  model: z.looseObject({ type: z.string().optional() }),
});
const special = z.union([z.string(), z.object({ content: z.string() })]).nullish();
const configFile = z.looseObject({
  bos_token: special,
  eos_token: special,
  unk_token: special,
  sep_token: special,
  pad_token: special,
  cls_token: special,
  mask_token: special,
  chat_template: z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]).nullish(),
});

const SPECIAL_NAMES = ['bos_token', 'eos_token', 'unk_token', 'sep_token', 'pad_token', 'cls_token', 'mask_token'] as const;

export interface TokenizerFiles {
  readonly tokenizer: z.output<typeof tokenizerFile>;
  readonly config: z.output<typeof configFile>;
  /** By their names in templates: `bos_token`. Those that the model lacks are left out. */
  readonly specialTokens: Readonly<Record<string, string>>;
  /** Source of the chat template; null = the model has none. */
  readonly chatTemplate: string | null;
}

/** @throws Error that names the file and what is wrong with it */
export function readTokenizerFiles(folder: string): TokenizerFiles {
  const tokenizer = readJson(join(folder, 'tokenizer.json'), tokenizerFile);
  const config = readJson(join(folder, 'tokenizer_config.json'), configFile);
  const specialTokens = Object.fromEntries(
    SPECIAL_NAMES.flatMap((name) => {
      const token = config[name];
      return token ? [[name, typeof token === 'string' ? token : token.content] as const] : [];
    }),
  );
  return { tokenizer, config, specialTokens, chatTemplate: chatTemplate(folder, config.chat_template) };
}

/** A file of its own goes before the configuration. */
function chatTemplate(folder: string, configured: z.output<typeof configFile>['chat_template']): string | null {
  const file = join(folder, 'chat_template.jinja');
  if (statSync(file, { throwIfNoEntry: false })?.isFile()) return readText(file);
  if (!Array.isArray(configured)) return configured ?? null;
  return configured.find(({ name }) => name === 'default')?.template ?? null;
}

function readJson<Schema extends z.ZodType>(path: string, schema: Schema): z.output<Schema> {
  const text = readText(path);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new Error(`${path} is not JSON: it is damaged or was not copied whole; get the model again`, { cause });
  }
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new Error(`${path}: ${issue?.path.join('.') || 'it'} is not as a Hugging Face tokenizer has it (${issue?.message})`);
}

function readText(path: string): string {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (!stats?.isFile()) throw new Error(`there is no file ${path}: a model folder needs tokenizer.json and tokenizer_config.json`);
  if (stats.size > MAX_BYTES) throw new Error(`${path} has ${stats.size} bytes: at most ${MAX_BYTES} are read`);
  return readFileSync(path, 'utf8');
}
