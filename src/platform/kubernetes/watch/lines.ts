/** Cuts a stream of bytes into lines, with a bound on the length of one. */

/** Yields every line that ends; what is left at the end of the stream is no line. Throws a RangeError beyond `maxBytes`. */
export async function* readLines(chunks: AsyncIterable<Uint8Array>, maxBytes: number): AsyncGenerator<string> {
  let parts: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      parts.push(chunk.subarray(from, end));
      yield Buffer.concat(parts).toString('utf8');
      parts = [];
      held = 0;
      from = end + 1;
    }
    parts.push(chunk.subarray(from));
    held += chunk.byteLength - from;
    if (held > maxBytes) throw new RangeError(`a line of more than ${maxBytes} bytes`);
  }
}

const NEWLINE = 0x0a;
