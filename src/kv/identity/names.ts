/** Forms of a block key: four words, 32 hex digits (events, wire, maps), a 53-bit number (hint indexes). */

/** 16 scratch bytes: converting is synchronous, so one is enough. */
const scratch = Buffer.alloc(16);

/** Value of a hex digit by character code; -1 for anything else. */
const digitOf = Int8Array.from({ length: 128 }, (_, code) => '0123456789abcdef'.indexOf(String.fromCharCode(code)));

/**
 * Key number `index` of `words` as 32 lower-case hex digits.
 * @throws RangeError when `words` has no such key.
 */
export function keyHex(words: Uint32Array, index: number): string {
  if (index < 0 || index * 4 + 4 > words.length) throw new RangeError(`index: expected 0 to ${words.length / 4 - 1}, got ${index}`);
  for (let part = 0; part < 4; part++) scratch.writeUInt32BE(words[index * 4 + part] as number, part * 4);
  return scratch.toString('hex');
}

/** All keys of `words`, in order. */
export function keyHexes(words: Uint32Array): string[] {
  return Array.from({ length: words.length >>> 2 }, (_, index) => keyHex(words, index));
}

/** The first 53 bits of key number `index`: exact as a JavaScript number, good enough for an index of hints. */
export function keyNumber(words: Uint32Array, index: number): number {
  return (words[index * 4] as number) * 0x200000 + ((words[index * 4 + 1] as number) >>> 11);
}

/** `keyNumber` of all keys of `words`, in order. */
export function keyNumbers(words: Uint32Array): Float64Array {
  const numbers = new Float64Array(words.length >>> 2);
  for (let index = 0; index < numbers.length; index++) numbers[index] = keyNumber(words, index);
  return numbers;
}

/** `keyNumber` of a key in hex: what an event names is found again by the words of a prompt. NaN when it is not hex. */
export function hexNumber(key: string): number {
  return hexWord(key, 0) * 0x200000 + Math.floor(hexWord(key, 8) / 0x800);
}

/** True for 32 lower-case hex digits. */
export function isKeyHex(key: string): boolean {
  if (key.length !== 32) return false;
  for (let at = 0; at < 32; at++) if ((digitOf[key.charCodeAt(at)] ?? -1) < 0) return false;
  return true;
}

function hexWord(key: string, from: number): number {
  let value = 0;
  for (let at = from; at < from + 8; at++) {
    const digit = digitOf[key.charCodeAt(at)] ?? -1;
    if (digit < 0) return Number.NaN;
    value = value * 16 + digit;
  }
  return value;
}
