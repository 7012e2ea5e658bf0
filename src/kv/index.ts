/** KV blocks: their names, where they are, and moving them between instances. */

export { type MemoryDirectoryOptions, memoryDirectory } from './directory/memory.ts';
export type {
  ApplyOutcome,
  Directory,
  DirectoryMatch,
  DirectoryStats,
  StoreReach,
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
export type { KvEvent, KvEventEnvelope, KvSnapshot, Tier } from './events/event.ts';
export type { EventFault, EventFaultCode } from './events/fault.ts';
export { type MemoryEventBusOptions, memoryEventBus } from './events/memory.ts';
export type {
  EventBus,
  EventListener,
  EventLog,
  EventSource,
  Following,
  FollowingStats,
  Health,
  Telling,
  TellingStats,
} from './events/port.ts';
export type { TellerLimits } from './events/teller.ts';
export { checksum, holdsTokens, type KvBlock, kvBlock } from './host/block.ts';
export { type HostChange, HostTier, type HostTierOptions, type Kept, type Lease } from './host/tier.ts';
export type { KvIdentity } from './identity/identity.ts';
export { blockKeys, chainSeed } from './identity/keys.ts';
export { hexNumber, isKeyHex, keyHex, keyHexes, keyNumbers } from './identity/names.ts';
export { MigrationExecutor, type MigrationLimits } from './migration/executor.ts';
export { type HolderCommand, type Holding, learn, NOTHING, obey } from './migration/holder.ts';
export type { AbortReason, MigrationCommand, MigrationMessage, MigrationState, Transition } from './migration/machine.ts';
export { peerOffer, planOnboard, planReading, storeOffer } from './policy/choice.ts';
export { LinkMeter, type LinkPrice, moveMs } from './policy/link.ts';
export { openFolderStore } from './store/folder/store.ts';
export type { BlockStore, StoreChange, StoreCondition, StoreVerdict } from './store/port.ts';
export { GROUP_BYTES } from './store/runs.ts';
export { StoreTrouble } from './store/shelf.ts';
export { StoreTier, type StoreTierStats } from './store/tier.ts';
export { pull } from './transfer/client.ts';
export { FrameMemory } from './transfer/framememory.ts';
export type { BlockShape } from './transfer/frames.ts';
export { TransferPool, type TransferPoolOptions } from './transfer/pool.ts';
export type { BlockSource, LeaseKeeper, PulledBlock, PullRequest, PullResult } from './transfer/port.ts';
export { pullSlabBytes } from './transfer/receiver.ts';
export { type TransferLimits, TransferServer, type TransferServerOptions, type TransferServerStats } from './transfer/server.ts';
