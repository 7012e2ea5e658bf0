/**
 * The bytes that llama.cpp gives for one sequence's KV, and how they are cut into blocks and joined again. Pure.
 *
 * State: magic u32, sequence u32, streams u32; per stream a cell count u32, zero but for one; after that one's count, per cell
 * (position, 1, sequence) as i32; then transposed u32, layers u32; per layer K: type i32, row bytes u64, a row per cell; per layer
 * V: type i32, element bytes u32, width u32, and `width` rows of one element per cell (V is stored transposed when flash attention
 * is off, which exact tokens need: see context.ts).
 *
 * A block of n tokens is, per layer, its n K rows, then per layer, its n elements of each V row. Its size does not depend on the
 * sequence's length.
 */
const MAGIC = 0xaf143cd8;
const HEAD_BYTES = 12;
const CELL_BYTES = 12;
const K_HEAD_BYTES = 12;
const V_HEAD_BYTES = 12;

export interface LayerLayout {
  readonly kType: number;
  readonly kRowBytes: number;
  readonly vType: number;
  readonly vElementBytes: number;
  readonly vWidth: number;
}

export interface StateLayout {
  readonly streams: number;
  readonly layers: readonly LayerLayout[];
}

/** Where the pieces of a state with `cells` cells are. Byte offsets; `k` and `v` by layer. */
interface Sections {
  readonly cells: number;
  readonly k: readonly number[];
  readonly v: readonly number[];
  readonly end: number;
}

/** Bytes of one block of `tokens` tokens. */
export function blockBytes(layout: StateLayout, tokens: number): number {
  return layout.layers.reduce((sum, layer) => sum + tokens * (layer.kRowBytes + layer.vElementBytes * layer.vWidth), 0);
}

/** A name for the layout: equal names mean that blocks are interchangeable. */
export function layoutName(layout: StateLayout): string {
  const first = layout.layers[0];
  const uniform = layout.layers.every((layer) => JSON.stringify(layer) === JSON.stringify(first));
  const shape = (layer: LayerLayout) => `k${layer.kType}:${layer.kRowBytes},v${layer.vType}:${layer.vElementBytes}x${layer.vWidth}`;
  const layers = uniform && first ? `${layout.layers.length}*${shape(first)}` : layout.layers.map(shape).join(';');
  return `ggml/k-rows,v-transposed/${layers}`;
}

/** Reads the layout off a state of at least one cell. Throws RangeError on anything this file does not know how to cut. */
export function readLayout(state: Uint8Array): StateLayout {
  const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
  const streams = view.getUint32(8, true);
  const { cells, start } = readCells(state);
  if (cells === 0) throw new RangeError('state is empty');
  let at = start + cells * CELL_BYTES;
  if (view.getUint32(at, true) !== 1) throw new RangeError('V is not stored transposed');
  const count = view.getUint32(at + 4, true);
  if (count < 1 || count > 1024) throw new RangeError(`state has ${count} layers`);
  at += 8;
  const keys = Array.from({ length: count }, () => {
    const key = { kType: view.getInt32(at, true), kRowBytes: Number(view.getBigUint64(at + 4, true)) };
    at += K_HEAD_BYTES + cells * key.kRowBytes;
    return key;
  });
  const layers = keys.map((key) => {
    const value = { vType: view.getInt32(at, true), vElementBytes: view.getUint32(at + 4, true), vWidth: view.getUint32(at + 8, true) };
    at += V_HEAD_BYTES + cells * value.vElementBytes * value.vWidth;
    return { ...key, ...value };
  });
  if (layers.some((layer) => layer.kRowBytes % 4 !== 0)) throw new RangeError('K rows are no multiple of 4 bytes');
  if (layers.some((layer) => layer.vElementBytes !== 2 && layer.vElementBytes !== 4))
    throw new RangeError('V elements are neither 2 nor 4 bytes');
  const layout = { streams, layers };
  sectionsOf(layout, state);
  return layout;
}

/** Finds the stream with cells and checks that they are positions 0, 1, 2, … of one sequence. */
function readCells(state: Uint8Array): { cells: number; start: number } {
  const view = new DataView(state.buffer, state.byteOffset, state.byteLength);
  if (state.length < HEAD_BYTES || view.getUint32(0, true) !== MAGIC) throw new RangeError('state has an unknown magic');
  const streams = view.getUint32(8, true);
  if (streams < 1 || HEAD_BYTES + 4 * streams > state.length) throw new RangeError(`state has ${streams} streams`);
  for (let s = 0; s < streams; s++) {
    const start = HEAD_BYTES + 4 * s + 4;
    const cells = view.getUint32(start - 4, true);
    if (cells === 0) continue;
    if (start + cells * CELL_BYTES > state.length) throw new RangeError('state is truncated');
    for (let i = 0; i < cells; i++) {
      const at = start + i * CELL_BYTES;
      if (view.getInt32(at, true) !== i || view.getUint32(at + 4, true) !== 1)
        throw new RangeError(`cell ${i} is not position ${i} of one sequence`);
    }
    return { cells, start };
  }
  return { cells: 0, start: HEAD_BYTES + 4 * streams };
}

function layOut(layout: StateLayout, cells: number, start: number): Sections {
  let at = start + cells * CELL_BYTES + 8;
  const k = layout.layers.map((layer) => {
    const data = at + K_HEAD_BYTES;
    at = data + cells * layer.kRowBytes;
    return data;
  });
  const v = layout.layers.map((layer) => {
    const data = at + V_HEAD_BYTES;
    at = data + cells * layer.vElementBytes * layer.vWidth;
    return data;
  });
  return { cells, k, v, end: at };
}

/** Sections of an existing state. Throws RangeError when its length or cells are not what the layout says. */
function sectionsOf(layout: StateLayout, state: Uint8Array): Sections {
  const { cells, start } = readCells(state);
  const sections = layOut(layout, cells, start);
  const trailing = 4 * (layout.streams - 1 - (start - HEAD_BYTES - 4) / 4);
  if (cells > 0 && sections.end + trailing !== state.length)
    throw new RangeError(`state of ${cells} cells has ${state.length} bytes, expected ${sections.end + trailing}`);
  return sections;
}

/** Which blocks of a state: `from` to `to` (exclusive). */
export interface BlockRange {
  readonly from: number;
  readonly to: number;
  readonly blockTokens: number;
}

/**
 * Blocks of a state, written into `targets`: memory of a block's size for each, at addresses that are multiples of 4. Default: memory of
 * their own. Throws RangeError if the state has fewer tokens or the targets are others.
 */
export function cutBlocks(
  layout: StateLayout,
  state: Uint8Array,
  range: BlockRange,
  targets: Uint8Array[] = freshBlocks(layout, range),
): Uint8Array[] {
  const { from, to, blockTokens } = range;
  const sections = sectionsOf(layout, state);
  if (to * blockTokens > sections.cells) throw new RangeError(`block ${to - 1} is not in a state of ${sections.cells} tokens`);
  const size = blockBytes(layout, blockTokens);
  checkTargets(targets, to - from, size);
  const words = targets.map((block) => new Int32Array(block.buffer, block.byteOffset, size >> 2));
  let at = 0;
  for (const [i, layer] of layout.layers.entries()) {
    const bytes = blockTokens * layer.kRowBytes;
    let source = (sections.k[i] as number) + from * bytes;
    for (const block of targets) {
      block.set(state.subarray(source, source + bytes), at);
      source += bytes;
    }
    at += bytes;
  }
  for (const [i, layer] of layout.layers.entries()) {
    const runBytes = blockTokens * layer.vElementBytes;
    const start = (sections.v[i] as number) + from * runBytes;
    const runs = { width: layer.vWidth, rowBytes: sections.cells * layer.vElementBytes, runBytes, start, at };
    if (inWords(runs)) scatterRuns(runs, new Int32Array(state.buffer, 0, state.length >> 2), words);
    else
      scatterRuns(
        runs,
        new Uint16Array(state.buffer, 0, state.length >> 1),
        targets.map((block) => new Uint16Array(block.buffer, block.byteOffset, size >> 1)),
      );
    at += layer.vWidth * runBytes;
  }
  return targets;
}

function freshBlocks(layout: StateLayout, { from, to, blockTokens }: BlockRange): Uint8Array[] {
  const size = blockBytes(layout, blockTokens);
  return Array.from({ length: Math.max(0, to - from) }, () => new Uint8Array(size));
}

function checkTargets(targets: readonly Uint8Array[], count: number, size: number): void {
  if (targets.length !== count) throw new RangeError(`${targets.length} targets for ${count} blocks`);
  const wrong = targets.find((target) => target.length !== size || target.byteOffset % 4 !== 0);
  if (wrong) throw new RangeError(`a target of ${wrong.length} bytes at address ${wrong.byteOffset}, expected ${size} at a multiple of 4`);
}

/** V of one layer: `width` rows that are `rowBytes` apart, the first at `start`; of each row a run goes to each block, from its `at` on. */
interface Runs {
  readonly width: number;
  readonly rowBytes: number;
  readonly runBytes: number;
  readonly start: number;
  readonly at: number;
}

/** Can whole 32-bit words be copied? Signed ones: all of them are small integers to the JavaScript engine, which makes no objects then. */
function inWords({ rowBytes, runBytes, start, at }: Runs): boolean {
  return (rowBytes | runBytes | start | at) % 4 === 0;
}

/** Row by row, so that the long state is read in order: one run of each row goes to each block. */
function scatterRuns(runs: Runs, state: Int32Array | Uint16Array, blocks: readonly (Int32Array | Uint16Array)[]): void {
  const unit = state.BYTES_PER_ELEMENT;
  const run = runs.runBytes / unit;
  for (let row = 0; row < runs.width; row++) {
    let source = (runs.start + row * runs.rowBytes) / unit;
    const target = runs.at / unit + row * run;
    for (const block of blocks) for (let i = 0; i < run; i++) block[target + i] = state[source++] as number;
  }
}

/** Bytes of a state of `cells` tokens. */
export function stateBytes(layout: StateLayout, cells: number): number {
  return layOut(layout, cells, HEAD_BYTES + 4).end + 4 * (layout.streams - 1);
}

/**
 * A state of the given blocks, in order from position 0, ready for llama.cpp. `sequence` is where it will be loaded; `memory` of at least
 * `stateBytes` is where it is put together (default: memory of its own), from its buffer's start on.
 * Blocks must have the layout's size; anything else is a RangeError, since llama.cpp aborts on a short state.
 */
export function joinBlocks(
  layout: StateLayout,
  blocks: readonly Uint8Array[],
  options: { blockTokens: number; sequence: number; memory?: Uint8Array },
): Uint8Array {
  const { blockTokens, sequence } = options;
  const size = blockBytes(layout, blockTokens);
  const wrong = blocks.findIndex((block) => block.length !== size);
  if (wrong >= 0) throw new RangeError(`block ${wrong} has ${blocks[wrong]?.length} bytes, expected ${size}`);
  const cells = blocks.length * blockTokens;
  const sections = layOut(layout, cells, HEAD_BYTES + 4);
  const bytes = stateBytes(layout, cells);
  const memory = options.memory ?? new Uint8Array(bytes);
  if (memory.length < bytes || memory.byteOffset !== 0) throw new RangeError(`memory of ${memory.length} bytes for a state of ${bytes}`);
  const state = memory.subarray(0, bytes);
  state.fill(0, sections.end);
  writeHeads(layout, state, sections, sequence);
  const aligned = blocks.every((block) => block.byteOffset % 4 === 0);
  const words = aligned ? blocks.map((block) => new Int32Array(block.buffer, block.byteOffset, size >> 2)) : [];
  let at = 0;
  for (const [i, layer] of layout.layers.entries()) {
    const rowsBytes = blockTokens * layer.kRowBytes;
    let target = sections.k[i] as number;
    for (const block of blocks) {
      state.set(block.subarray(at, at + rowsBytes), target);
      target += rowsBytes;
    }
    at += rowsBytes;
  }
  for (const [i, layer] of layout.layers.entries()) {
    const runBytes = blockTokens * layer.vElementBytes;
    const runs = { width: layer.vWidth, rowBytes: cells * layer.vElementBytes, runBytes, start: sections.v[i] as number, at };
    if (aligned && inWords(runs)) gatherRuns(runs, new Int32Array(state.buffer, 0, state.length >> 2), words);
    else copyRuns(runs, state, blocks);
    at += layer.vWidth * runBytes;
  }
  return state;
}

function gatherRuns(runs: Runs, state: Int32Array, blocks: readonly Int32Array[]): void {
  const unit = state.BYTES_PER_ELEMENT;
  const run = runs.runBytes / unit;
  for (let row = 0; row < runs.width; row++) {
    let target = (runs.start + row * runs.rowBytes) / unit;
    const source = runs.at / unit + row * run;
    for (const block of blocks) for (let i = 0; i < run; i++) state[target++] = block[source + i] as number;
  }
}

/** The same for blocks at odd addresses, as views into a receive buffer can be. */
function copyRuns({ width, rowBytes, runBytes, start, at }: Runs, state: Uint8Array, blocks: readonly Uint8Array[]): void {
  for (let row = 0; row < width; row++) {
    const source = at + row * runBytes;
    for (const [b, block] of blocks.entries()) state.set(block.subarray(source, source + runBytes), start + row * rowBytes + b * runBytes);
  }
}

function writeHeads(layout: StateLayout, state: Uint8Array, sections: Sections, sequence: number): void {
  const view = new DataView(state.buffer);
  view.setUint32(0, MAGIC, true);
  view.setInt32(4, sequence, true);
  view.setUint32(8, layout.streams, true);
  view.setUint32(HEAD_BYTES, sections.cells, true);
  const meta = HEAD_BYTES + 4;
  for (let i = 0; i < sections.cells; i++) {
    view.setInt32(meta + i * CELL_BYTES, i, true);
    view.setUint32(meta + i * CELL_BYTES + 4, 1, true);
    view.setInt32(meta + i * CELL_BYTES + 8, sequence, true);
  }
  view.setUint32(meta + sections.cells * CELL_BYTES, 1, true);
  view.setUint32(meta + sections.cells * CELL_BYTES + 4, layout.layers.length, true);
  for (const [i, layer] of layout.layers.entries()) {
    const k = (sections.k[i] as number) - K_HEAD_BYTES;
    view.setInt32(k, layer.kType, true);
    view.setBigUint64(k + 4, BigInt(layer.kRowBytes), true);
    const v = (sections.v[i] as number) - V_HEAD_BYTES;
    view.setInt32(v, layer.vType, true);
    view.setUint32(v + 4, layer.vElementBytes, true);
    view.setUint32(v + 8, layer.vWidth, true);
  }
}
