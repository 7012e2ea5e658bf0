/**
 * The tokenizer and chat template of a Hugging Face folder, in JavaScript, so that the router names the blocks of a prompt without
 * asking the engine. It gives the ids that vLLM gives: also of special tokens that stand in a plain text.
 */
import { Template } from '@huggingface/jinja';
import { SluiceError } from '../../shared/index.ts';
import type { ChatMessage, Tokenizer } from '../port.ts';
import { bytesOfLetters } from './bytealphabet.ts';
import { readTokenizerFiles, type TokenizerFiles } from './files.ts';
import { type TokenModel, tokenModelOf } from './tokenmodel.ts';

const encoder = new TextEncoder();
const NO_BYTES = new Uint8Array(0);

/** Compiled templates write what stands for them in Python: these are given there although they are nothing. */
const ABSENT = { tools: null, documents: null };

export class HuggingFaceTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly #model: TokenModel;
  readonly #template: Template | null;
  readonly #specialTokens: Readonly<Record<string, string>>;
  readonly #pieces: (Uint8Array | undefined)[] = [];
  readonly #added: ReadonlyMap<number, { readonly content: string; readonly special: boolean }>;
  readonly #bytesOf: (token: string) => Uint8Array;

  constructor(files: TokenizerFiles) {
    this.#model = tokenModelOf(files);
    this.#template = files.chatTemplate === null ? null : new Template(files.chatTemplate);
    this.#specialTokens = files.specialTokens;
    this.#added = new Map(files.tokenizer.added_tokens.map((token) => [token.id, token]));
    this.#bytesOf = JSON.stringify(files.tokenizer.decoder ?? null).includes('"ByteLevel"') ? byteLevelBytes : textBytes;
    this.vocabularySize = this.#model.vocabularySize;
  }

  /** Why the tokenizer is none that is known to the letter here, so that it takes many times the CPU; null = it is known. */
  get unclaimed(): string | null {
    return this.#model.unclaimed;
  }

  encode(text: string): Int32Array {
    return this.#model.encode(text, true);
  }

  /** The template writes the special tokens, BOS too. */
  encodeChat(messages: readonly ChatMessage[]): Int32Array {
    return this.#model.encode(this.#render(messages), false);
  }

  piece(token: number): Uint8Array {
    const known = this.#pieces[token];
    if (known) return known;
    const piece = this.#pieceOf(token);
    if (token >= 0 && token < this.vocabularySize) this.#pieces[token] = piece;
    return piece;
  }

  #pieceOf(token: number): Uint8Array {
    const added = this.#added.get(token);
    if (added) return added.special ? NO_BYTES : encoder.encode(added.content);
    const text = this.#model.tokenOf(token);
    return text === undefined ? NO_BYTES : this.#bytesOf(text);
  }

  #render(messages: readonly ChatMessage[]): string {
    if (!this.#template) {
      throw new SluiceError('unsupported_parameter', 'this model has no chat template: use /v1/completions', { param: 'messages' });
    }
    try {
      return this.#template.render({ ...ABSENT, ...this.#specialTokens, messages, add_generation_prompt: true });
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SluiceError('invalid_request', `the model's chat template refuses these messages: ${why}`, { param: 'messages', cause });
    }
  }
}

function byteLevelBytes(token: string): Uint8Array {
  return bytesOfLetters(token) ?? encoder.encode(token);
}

/** SentencePiece's way: `▁` is a space, `<0x0A>` a byte that no token has. */
function textBytes(token: string): Uint8Array {
  const byte = /^<0x([0-9A-F]{2})>$/.exec(token)?.[1];
  return byte === undefined ? encoder.encode(token.replaceAll('▁', ' ')) : Uint8Array.of(Number.parseInt(byte, 16));
}

/** @throws Error that names the file when `folder` holds no sound tokenizer */
export function loadHuggingFaceTokenizer(folder: string): HuggingFaceTokenizer {
  const files = readTokenizerFiles(folder);
  try {
    return new HuggingFaceTokenizer(files);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`the tokenizer of ${folder} cannot be used: ${why}`, { cause });
  }
}
