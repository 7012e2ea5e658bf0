/** The seam for `kv_transfer_params`: how another engine's way to hand off is understood by ours. */
import type { HandOffTicket } from '../port.ts';

export type TransferWish =
  /** Keep the prompt's KV for a peer and tell where it is. */
  | { readonly kind: 'keep' }
  /** Take the prompt's KV from there. */
  | { readonly kind: 'take'; readonly ticket: HandOffTicket }
  | { readonly kind: 'none' };

export interface KvTransferDialect {
  /**
   * Reads a body's `kv_transfer_params`.
   * @throws SluiceError invalid_request when they are malformed or do not fit a prompt of `promptTokens`
   */
  read(params: unknown, promptTokens: number): TransferWish;
  /** What a `keep` is answered with, as a decode instance of that dialect wants to get it. */
  answer(ticket: HandOffTicket, promptTokens: number, cachedTokens: number): object;
}
