/** KV events of vLLM, followed and told in Sluice's block keys. */
export { BlockLedger, type BlockLedgerOptions, type LedgerStats } from './ledger.ts';
export { EventSubscriber, type EventSubscriberOptions, type SubscriberLimits, type SubscriberStats } from './subscriber.ts';
