/** Request bodies for engines that are not ours. Pure. */
import type { ParsedRequest } from '../../edge/index.ts';

type Fields = Readonly<Record<string, unknown>>;

/** The client's bytes with what is ours put behind them, in place of `cache_salt` and `stream_options` of its own. */
export function withFields({ body, traits }: ParsedRequest, added: Fields): Buffer {
  const takesPlace = traits.cacheSalt !== '' || (traits.streamOptions && 'stream_options' in added);
  return takesPlace ? rewritten(body, added) : spliced(body, added);
}

function rewritten(body: Buffer, added: Fields): Buffer {
  return Buffer.from(JSON.stringify({ ...(JSON.parse(body.toString('utf8')) as Fields), ...added }));
}

/** An object with fields in it (`model`, at least) ends in its last brace. */
function spliced(body: Buffer, added: Fields): Buffer {
  const text = JSON.stringify(added);
  if (text === '{}') return body;
  const end = body.lastIndexOf('}');
  const tail = `,${text.slice(1)}`;
  const whole = Buffer.allocUnsafe(end + Buffer.byteLength(tail));
  body.copy(whole, 0, 0, end);
  whole.write(tail, end);
  return whole;
}
