/** The safetensors file format, as far as writing float32 needs it: https://github.com/huggingface/safetensors#format. */

export interface Tensor {
  readonly name: string;
  /** Outermost dimension first. */
  readonly shape: readonly number[];
  /** Row by row; as many as the shape says. */
  readonly values: Float32Array;
}

const ALIGNMENT = 8;

/** Whole file. Needs a little-endian machine, as all are that an engine runs on. @throws RangeError when values and shape differ */
export function safetensorsBytes(tensors: readonly Tensor[]): Uint8Array {
  // `format` is what Transformers asks for before it loads a file.
  const header: Record<string, object> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, shape, values } of tensors) {
    const elements = shape.reduce((product, dimension) => product * dimension, 1);
    if (elements !== values.length) throw new RangeError(`${name} has ${values.length} values, expected ${elements}`);
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + values.byteLength] };
    offset += values.byteLength;
  }
  const text = JSON.stringify(header);
  const bytes = Buffer.from(text.padEnd(Math.ceil(text.length / ALIGNMENT) * ALIGNMENT, ' '), 'ascii');
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  const data = tensors.map(({ values }) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return Buffer.concat([length, bytes, ...data]);
}
