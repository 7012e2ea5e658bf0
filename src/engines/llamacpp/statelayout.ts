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

/** Blocks `from` to `to` (exclusive) of a state, each in memory of its own. Throws RangeError if the state has fewer tokens. */
export function cutBlocks(layout: StateLayout, state: Uint8Array, range: { from: number; to: number; blockTokens: number }): Uint8Array[] {
  const { from, to, blockTokens } = range;
  const sections = sectionsOf(layout, state);
  if (to * blockTokens > sections.cells) throw new RangeError(`block ${to - 1} is not in a state of ${sections.cells} tokens`);
  const size = blockBytes(layout, blockTokens);
  const blocks = Array.from({ length: Math.max(0, to - from) }, () => new Uint8Array(size));
  let at = 0;
  for (const [i, layer] of layout.layers.entries()) {
    const bytes = blockTokens * layer.kRowBytes;
    for (const [b, block] of blocks.entries()) {
      const source = (sections.k[i] as number) + (from + b) * bytes;
      block.set(state.subarray(source, source + bytes), at);
    }
    at += bytes;
  }
  for (const [i, layer] of layout.layers.entries()) {
    const shape = { width: layer.vWidth, rowBytes: sections.cells * layer.vElementBytes, runBytes: blockTokens * layer.vElementBytes };
    const start = (sections.v[i] as number) + from * shape.runBytes;
    if (shape.rowBytes % 4 === 0 && start % 4 === 0)
      scatterRuns(
        shape,
        new Uint32Array(state.buffer),
        start,
        blocks.map((block) => new Uint32Array(block.buffer, at)),
      );
    else
      scatterRuns(
        shape,
        new Uint16Array(state.buffer, 0, state.length >> 1),
        start,
        blocks.map((block) => new Uint16Array(block.buffer, at)),
      );
    at += shape.width * shape.runBytes;
  }
  return blocks;
}

interface RunShape {
  readonly width: number;
  readonly rowBytes: number;
  readonly runBytes: number;
}

/** Row by row, so that the long state is read in order: one run of each row goes to each block. */
function scatterRuns(
  shape: RunShape,
  state: Uint32Array | Uint16Array,
  start: number,
  blocks: readonly (Uint32Array | Uint16Array)[],
): void {
  const unit = state.BYTES_PER_ELEMENT;
  const run = shape.runBytes / unit;
  for (let row = 0; row < shape.width; row++) {
    let source = (start + row * shape.rowBytes) / unit;
    const target = row * run;
    for (const block of blocks) for (let i = 0; i < run; i++) block[target + i] = state[source++] as number;
  }
}

/**
 * A state of the given blocks, in order from position 0, ready for llama.cpp. `sequence` is where it will be loaded.
 * Blocks must have the layout's size; anything else is a RangeError, since llama.cpp aborts on a short state.
 */
export function joinBlocks(
  layout: StateLayout,
  blocks: readonly Uint8Array[],
  options: { blockTokens: number; sequence: number },
): Uint8Array {
  const { blockTokens, sequence } = options;
  const size = blockBytes(layout, blockTokens);
  const wrong = blocks.findIndex((block) => block.length !== size);
  if (wrong >= 0) throw new RangeError(`block ${wrong} has ${blocks[wrong]?.length} bytes, expected ${size}`);
  const cells = blocks.length * blockTokens;
  const sections = layOut(layout, cells, HEAD_BYTES + 4);
  const state = new Uint8Array(sections.end + 4 * (layout.streams - 1));
  writeHeads(layout, state, sections, sequence);
  let at = 0;
  for (const [i, layer] of layout.layers.entries()) {
    const bytes = blockTokens * layer.kRowBytes;
    for (const [b, block] of blocks.entries()) state.set(block.subarray(at, at + bytes), (sections.k[i] as number) + b * bytes);
    at += bytes;
  }
  for (const [i, layer] of layout.layers.entries()) {
    const shape = { width: layer.vWidth, rowBytes: cells * layer.vElementBytes, runBytes: blockTokens * layer.vElementBytes };
    const start = sections.v[i] as number;
    const aligned = blocks.every((block) => (block.byteOffset + at) % 4 === 0) && shape.runBytes % 4 === 0;
    if (aligned)
      gatherRuns(
        shape,
        new Uint32Array(state.buffer),
        start,
        blocks.map((block) => new Uint32Array(block.buffer, block.byteOffset + at, (shape.width * shape.runBytes) / 4)),
      );
    else
      copyRuns(
        shape,
        state,
        start,
        blocks.map((block) => block.subarray(at)),
      );
    at += shape.width * shape.runBytes;
  }
  return state;
}

function gatherRuns(shape: RunShape, state: Uint32Array, start: number, blocks: readonly Uint32Array[]): void {
  const unit = state.BYTES_PER_ELEMENT;
  const run = shape.runBytes / unit;
  for (let row = 0; row < shape.width; row++) {
    let target = (start + row * shape.rowBytes) / unit;
    const source = row * run;
    for (const block of blocks) for (let i = 0; i < run; i++) state[target++] = block[source + i] as number;
  }
}

/** The same for blocks at odd addresses, as views into a receive buffer can be. */
function copyRuns(shape: RunShape, state: Uint8Array, start: number, blocks: readonly Uint8Array[]): void {
  for (let row = 0; row < shape.width; row++) {
    for (const [b, block] of blocks.entries()) {
      state.set(block.subarray(row * shape.runBytes, (row + 1) * shape.runBytes), start + row * shape.rowBytes + b * shape.runBytes);
    }
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
