/** `Cells` as a WebAssembly module, built from `kernels/blocks.wat` by `npm run generate`. */
import { readFileSync } from 'node:fs';
import { CELL_BYTES, CELL_WORDS, type Cells, capacityFor, leapFor, MAX_KEYS, scaleFor } from './cells.ts';

const MODULE = new URL('blocks.wasm', import.meta.url);
/** Where things are in the module's memory. */
const GONE_AT = MAX_KEYS * 8;
const VALUES_AT = GONE_AT + MAX_KEYS * 8;
const CELLS_AT = VALUES_AT + MAX_KEYS * 4;
const PAGE_BYTES = 65_536;

type Call = (...values: number[]) => number;
type Exports = Readonly<Record<string, unknown>>;
interface Global {
  readonly value: number;
}
interface Compiled {
  readonly kind?: 'compiled module';
}

/** What is used of it here: the compiler has its types only together with those of a browser. */
declare const WebAssembly: {
  readonly Memory: new (pages: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
  readonly Module: new (bytes: Uint8Array) => Compiled;
  readonly Instance: new (module: Compiled, imports: Readonly<Record<string, Exports>>) => { readonly exports: Exports };
};

let compiled: Compiled | null = null;

export class WasmCells implements Cells {
  readonly keys: Float64Array;
  readonly gone: Float64Array;
  readonly values: Uint32Array;
  readonly words: Int32Array;
  readonly limit: number;
  readonly find: (count: number) => number;
  readonly absent: (from: number, count: number) => number;
  readonly move: (from: number, count: number, old: number, next: number) => number;
  readonly evict: (count: number) => number;
  readonly #size: Global;

  /**
   * @param limit keys at most.
   * @throws Error when the module is not there or is not the one this was written for.
   */
  constructor(limit: number) {
    this.limit = limit;
    const capacity = capacityFor(limit);
    const pages = Math.ceil((CELLS_AT + capacity * CELL_BYTES) / PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
    compiled ??= new WebAssembly.Module(readFileSync(MODULE));
    const { exports } = new WebAssembly.Instance(compiled, { kernel: { memory } });
    exported(exports, 'init', isCall)(capacity, limit, scaleFor(capacity), leapFor(capacity));
    this.find = exported(exports, 'find', isCall);
    this.absent = exported(exports, 'absent', isCall);
    this.move = exported(exports, 'move', isCall);
    this.evict = exported(exports, 'evict', isCall);
    this.#size = exported(exports, 'size', isGlobal);
    this.keys = new Float64Array(memory.buffer, 0, MAX_KEYS);
    this.gone = new Float64Array(memory.buffer, GONE_AT, MAX_KEYS);
    this.values = new Uint32Array(memory.buffer, VALUES_AT, MAX_KEYS);
    this.words = new Int32Array(memory.buffer, CELLS_AT, capacity * CELL_WORDS);
  }

  get size(): number {
    return this.#size.value;
  }
}

function exported<T>(exports: Exports, name: string, is: (value: unknown) => value is T): T {
  const value = exports[name];
  if (is(value)) return value;
  throw new Error(`blocks.wasm: expected it to export ${name}, got ${typeof value}; run npm run generate`);
}

/** The module's functions take and give 32-bit integers and doubles only. */
function isCall(value: unknown): value is Call {
  return typeof value === 'function';
}

function isGlobal(value: unknown): value is Global {
  return typeof value === 'object' && value !== null && 'value' in value && typeof value.value === 'number';
}
