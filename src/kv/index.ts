/** KV blocks: their names, where they are, and moving them between instances. */

export { type MemoryDirectoryOptions, memoryDirectory } from './directory/memory.ts';
export type {
  ApplyOutcome,
  Directory,
  DirectoryMatch,
  DirectoryStats,
} from './directory/port.ts';
export { DirectoryFault, type DirectoryFaultCode } from './directory/shared/fault.ts';
export { type MemorySharedDirectoryOptions, memorySharedDirectory } from './directory/shared/memory.ts';
export type {
  BlockLease,
  ChangeOutcome,
  FenceOutcome,
  JoinOutcome,
  LeaseRelease,
  LeaseRenewal,
  LeaseResult,
  Life,
  LifeStats,
  Publication,
  RenewOutcome,
  SharedDirectory,
  SharedMatch,
  Withdrawal,
  WithdrawResult,
} from './directory/shared/port.ts';
export { DirectoryWriter, type WriterOptions, type WriterState, type WriterStats } from './directory/shared/writer.ts';
export type { QueueTerms } from './events/command.ts';
export type { KvEvent, KvEventEnvelope, KvSnapshot, Tier } from './events/event.ts';
export type { EventFault, EventFaultCode } from './events/fault.ts';
export { type MemoryEventBusOptions, memoryEventBus } from './events/memory.ts';
export type {
  Command,
  Delivery,
  EventBus,
  EventListener,
  EventLog,
  EventSource,
  Following,
  FollowingStats,
  Health,
  Telling,
  TellingStats,
  Worker,
  WorkOutcome,
  WorkQueue,
} from './events/port.ts';
export type { TellerLimits } from './events/teller.ts';
export { holdsTokens, type KvBlock, kvBlock } from './host/block.ts';
export { type HostChange, HostTier, type HostTierOptions, type Lease } from './host/tier.ts';
export type { KvIdentity } from './identity/identity.ts';
export { blockKeys, chainSeed } from './identity/keys.ts';
export { hexNumber, keyHex, keyHexes, keyNumbers } from './identity/names.ts';
export { pull } from './transfer/client.ts';
export { FrameMemory } from './transfer/framememory.ts';
export type { BlockShape } from './transfer/frames.ts';
export { TransferPool, type TransferPoolOptions } from './transfer/pool.ts';
export type { BlockSource, LeaseKeeper, PulledBlock, PullRequest, PullResult } from './transfer/port.ts';
export { pullSlabBytes } from './transfer/receiver.ts';
export { type TransferLimits, TransferServer, type TransferServerOptions, type TransferServerStats } from './transfer/server.ts';
