/** Encodes the head of a GGUF file, version 3, little endian. */

export type MetadataEntry =
  | readonly [key: string, type: 'string', value: string]
  | readonly [key: string, type: 'u32' | 'f32', value: number]
  | readonly [key: string, type: 'bool', value: boolean]
  | readonly [key: string, type: 'strings', value: readonly string[]]
  | readonly [key: string, type: 'i32s', value: readonly number[]];

export interface TensorSpec {
  readonly name: string;
  /** Fastest dimension first. */
  readonly dims: readonly number[];
  readonly type: 'f16' | 'f32';
}

const ALIGNMENT = 32;
const VALUE_TYPES = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;
const TENSOR_TYPES = { f32: { id: 0, bytes: 4 }, f16: { id: 1, bytes: 2 } } as const;

/** Zero bytes that bring `length` to the alignment of tensor data. */
export function padding(length: number): number {
  return (ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT;
}

export function encodeMetadata(tensorCount: number, entries: readonly MetadataEntry[]): Uint8Array {
  const parts = [Buffer.from('GGUF'), u32(3), u64(tensorCount), u64(entries.length)];
  for (const entry of entries) parts.push(text(entry[0]), encodeValue(entry));
  return Buffer.concat(parts);
}

function encodeValue(entry: MetadataEntry): Buffer {
  switch (entry[1]) {
    case 'string':
      return Buffer.concat([u32(VALUE_TYPES.string), text(entry[2])]);
    case 'u32':
      return Buffer.concat([u32(VALUE_TYPES.u32), u32(entry[2])]);
    case 'f32':
      return Buffer.concat([u32(VALUE_TYPES.f32), f32(entry[2])]);
    case 'bool':
      return Buffer.concat([u32(VALUE_TYPES.bool), Buffer.from([entry[2] ? 1 : 0])]);
    case 'strings':
      return Buffer.concat([u32(VALUE_TYPES.array), u32(VALUE_TYPES.string), u64(entry[2].length), ...entry[2].map(text)]);
    case 'i32s':
      return Buffer.concat([u32(VALUE_TYPES.array), u32(VALUE_TYPES.i32), u64(entry[2].length), ...entry[2].map(u32)]);
  }
}

/** Tensor infos with offsets that follow each other, each aligned. */
export function encodeTensorTable(tensors: readonly TensorSpec[]): Uint8Array {
  const parts: Buffer[] = [];
  let offset = 0;
  for (const { name, dims, type } of tensors) {
    const { id, bytes } = TENSOR_TYPES[type];
    parts.push(text(name), u32(dims.length), ...dims.map(u64), u32(id), u64(offset));
    const size = dims.reduce((product, dim) => product * dim, bytes);
    offset += size + padding(size);
  }
  return Buffer.concat(parts);
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

function u64(value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}

function f32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeFloatLE(value);
  return buffer;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([u64(bytes.length), bytes]);
}
