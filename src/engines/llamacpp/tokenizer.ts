/** The tokenizer and chat template of a GGUF file, through llama.cpp and a Jinja interpreter. Needs no weights in memory. */
import { Template } from '@huggingface/jinja';
import { SluiceError } from '../../shared/index.ts';
import type { ChatMessage, Tokenizer } from '../port.ts';
import { loadModel, type Model } from './model.ts';

const encoder = new TextEncoder();
const NO_TOKEN = -1;

export class GgufTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly #model: Model;
  readonly #bos: number;
  readonly #template: Template | null;
  readonly #pieces: (Uint8Array | undefined)[] = [];

  constructor(model: Model) {
    const { library, vocabulary } = model;
    this.#model = model;
    this.vocabularySize = model.vocabularySize;
    this.#bos = library.bos(vocabulary);
    const source = library.chatTemplate(model.pointer, null);
    this.#template = source === null ? null : new Template(source);
  }

  encode(text: string): Int32Array {
    return this.#tokenize(text, false);
  }

  encodeChat(messages: readonly ChatMessage[]): Int32Array {
    const tokens = this.#tokenize(this.#render(messages), true);
    // Some templates write the BOS themselves.
    return tokens[0] === this.#bos && tokens[1] === this.#bos ? tokens.subarray(1) : tokens;
  }

  piece(token: number): Uint8Array {
    const known = this.#pieces[token];
    if (known) return known;
    const { library, vocabulary } = this.#model;
    const buffer = new Uint8Array(512);
    const length = library.piece(vocabulary, token, buffer, buffer.length, 0, false);
    const piece = buffer.slice(0, Math.max(0, length));
    this.#pieces[token] = piece;
    return piece;
  }

  isEndOfGeneration(token: number): boolean {
    return this.#model.library.isEndOfGeneration(this.#model.vocabulary, token);
  }

  #tokenize(text: string, parseSpecial: boolean): Int32Array {
    const { library, vocabulary } = this.#model;
    const bytes = encoder.encode(text);
    const out = new Int32Array(bytes.length + 8);
    const count = library.tokenize(vocabulary, bytes, bytes.length, out, out.length, true, parseSpecial);
    if (count < 0) throw new SluiceError('internal', `the tokenizer needs ${-count} tokens for ${bytes.length} bytes`);
    return out.slice(0, count);
  }

  #render(messages: readonly ChatMessage[]): string {
    if (!this.#template) {
      throw new SluiceError('unsupported_parameter', 'this model has no chat template: use /v1/completions', { param: 'messages' });
    }
    const { library, vocabulary } = this.#model;
    const text = (token: number) => (token === NO_TOKEN ? '' : (library.tokenText(vocabulary, token) ?? ''));
    try {
      return this.#template.render({
        messages,
        add_generation_prompt: true,
        bos_token: text(this.#bos),
        eos_token: text(library.eos(vocabulary)),
      });
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new SluiceError('invalid_request', `the model's chat template refuses these messages: ${why}`, { param: 'messages', cause });
    }
  }
}

/** The tokenizer of a GGUF file by itself, for processes that run no model. Stays open for the life of the process. */
export function loadGgufTokenizer(path: string): GgufTokenizer {
  return new GgufTokenizer(loadModel(path, { vocabularyOnly: true }));
}
