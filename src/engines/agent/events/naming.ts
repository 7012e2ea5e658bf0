/** From what an engine says about a chain of blocks to the seed of Sluice's key chain. Pure. */
import type { BlockStored, ExtraKey } from './event.ts';

/** Kinds of cache groups in which a block stays for as long as it may be wanted; the others keep a window or a state only. */
const WHOLE_PROMPT_KINDS = new Set(['full_attention', 'mla_attention', 'sink_full_attention']);

/** What besides identity and tokens the keys of a chain depend on. */
export interface ChainStart {
  /** Null: the identity's own. */
  readonly adapter: string | null;
  readonly salt: string;
}

/** True for a group whose blocks are the ones to follow. Engines that have one group, or do not name its kind, number it 0. */
export function isWholePromptGroup(event: BlockStored): boolean {
  return event.groupKind === null ? (event.group ?? 0) === 0 : WHOLE_PROMPT_KINDS.has(event.groupKind);
}

/**
 * Where the chain of an event without parent starts. Null when its first block depends on something that our keys do not know
 * (an image, embeddings, an adapter without name): such a block must not get a name that another block may have.
 *
 * vLLM lists for a block, in this order: the adapter's name, multimodal items, the cache salt (first block of a prompt only), a digest
 * of prompt embeddings. SGLang tells the salt by itself.
 */
export function chainStart(event: BlockStored): ChainStart | null {
  const keys = besidesAdapter(event, 0);
  if (keys === null) return null;
  if (event.salt !== null) return keys.length === 0 ? { adapter: event.adapter, salt: event.salt } : null;
  const [salt, ...more] = keys;
  if (salt === undefined) return { adapter: event.adapter, salt: '' };
  return salt.kind === 'text' && more.length === 0 ? { adapter: event.adapter, salt: salt.text } : null;
}

/** True when block number `index` of the event, one with a parent, depends on its parent and its tokens alone. */
export function continuesChain(event: BlockStored, index: number): boolean {
  return besidesAdapter(event, index)?.length === 0;
}

/** Extra keys of a block without the adapter's name; null when an adapter took part that is not named. */
function besidesAdapter(event: BlockStored, index: number): readonly ExtraKey[] | null {
  if (event.adapter === null && event.isAdapted) return null;
  const keys = event.extraKeys?.[index] ?? [];
  const [first] = keys;
  return event.adapter !== null && first?.kind === 'text' && first.text === event.adapter ? keys.slice(1) : keys;
}
