/**
 * The move of one running session from an instance to another, as whoever owns its stream sees it. Pure: what happened goes in, what is
 * to be done comes out.
 *
 *   requested → reserved → copying → committed → released
 *                 any of the first three → aborted
 *
 * Invariants (explored in explorer.test.ts over every order of messages, losses and crashes)
 * - The source decodes until it is asked to stop, and keeps its copy until the target spoke (`committed`) or the move was given up.
 * - The target is told to go on only after the source said its last token: no two decode.
 * - A message of another move, of a state that is over, or that came twice changes nothing.
 * - Once the source was asked to stop nobody goes back to it: a move that fails then ends in `resume`, from the tokens that went out.
 */
export type MigrationState = 'requested' | 'reserved' | 'copying' | 'committed' | 'released' | 'aborted';

/** Within `copying`: pull the finished blocks; hand over the tokens made meanwhile; wait for the last one; wait for the first one. */
export type CopyStep = 'blocks' | 'difference' | 'stopping' | 'switching';

/** Few, for metrics. `ended`: the session was over before it could be moved. */
export type AbortReason = 'full' | 'refused' | 'silent' | 'lost' | 'ended';

export interface Migration {
  readonly id: string;
  readonly session: string;
  readonly from: string;
  readonly to: string;
  /** The fencing token: generation of the owner that `to` is to become. That of the source is smaller. */
  readonly generation: number;
  readonly state: MigrationState;
  readonly step: CopyStep;
  /** Times that the difference was handed over. */
  readonly rounds: number;
  readonly blocks: number;
  readonly bytes: number;
  readonly reason: AbortReason | null;
}

/** What happened. `migration` names the move that it belongs to. */
export type MigrationMessage = { readonly migration: string } & (
  | { readonly type: 'placed' }
  | { readonly type: 'offered' }
  | { readonly type: 'pulled'; readonly blocks: number; readonly bytes: number }
  /** The target has computed what it was told; the source is `behind` tokens further by now. */
  | { readonly type: 'followed'; readonly behind: number }
  | { readonly type: 'stopped' }
  | { readonly type: 'spoke' }
  | { readonly type: 'released' }
  /** The session ended, for whatever reason but this move. */
  | { readonly type: 'ended' }
  | { readonly type: 'failed'; readonly reason: AbortReason }
);

/** What is to be done next; each is asked of one instance, but for `resume`, which is whoever owns the stream. */
export type MigrationCommand = 'reserve' | 'offer' | 'pull' | 'follow' | 'stop' | 'commit' | 'releaseSource' | 'cancelTarget' | 'resume';

export interface Transition {
  readonly next: Migration;
  readonly commands: readonly MigrationCommand[];
  /** False: the message was late, came twice or belongs to another move. */
  readonly changed: boolean;
}

export interface MigrationRequest {
  readonly id: string;
  readonly session: string;
  readonly from: string;
  readonly to: string;
  readonly generation: number;
}

/** So many tokens behind, the target catches up in about the time of one step. */
const CLOSE_TOKENS = 2;
/** A target that is slower than the source never gets close: then the rest is what it is. */
const MAX_ROUNDS = 6;

export function requestMigration(request: MigrationRequest): Transition {
  return entered({ ...request, state: 'requested', step: 'blocks', rounds: 0, blocks: 0, bytes: 0, reason: null }, ['reserve']);
}

export function transition(migration: Migration, message: MigrationMessage): Transition {
  if (message.migration !== migration.id) return unchanged(migration);
  switch (message.type) {
    case 'placed':
      return migration.state === 'requested' ? entered({ ...migration, state: 'reserved' }, ['offer']) : unchanged(migration);
    case 'offered':
      return migration.state === 'reserved' ? entered({ ...migration, state: 'copying' }, ['pull']) : unchanged(migration);
    case 'pulled': {
      const { blocks, bytes } = message;
      return isAt(migration, 'blocks') ? entered({ ...migration, step: 'difference', blocks, bytes }, ['follow']) : unchanged(migration);
    }
    case 'followed':
      return isAt(migration, 'difference') ? followed(migration, message.behind) : unchanged(migration);
    case 'stopped':
      return isAt(migration, 'stopping') ? entered({ ...migration, step: 'switching' }, ['commit']) : unchanged(migration);
    case 'spoke':
      return isAt(migration, 'switching') ? entered({ ...migration, state: 'committed' }, ['releaseSource']) : unchanged(migration);
    case 'released':
      return migration.state === 'committed' ? entered({ ...migration, state: 'released' }, []) : unchanged(migration);
    case 'ended':
      return failed(migration, 'ended');
    case 'failed':
      return failed(migration, message.reason);
  }
}

export function isOver({ state }: Migration): boolean {
  return state === 'released' || state === 'aborted';
}

function isAt({ state, step }: Migration, wanted: CopyStep): boolean {
  return state === 'copying' && step === wanted;
}

function followed(migration: Migration, behind: number): Transition {
  const rounds = migration.rounds + 1;
  return behind > CLOSE_TOKENS && rounds < MAX_ROUNDS
    ? entered({ ...migration, rounds }, ['follow'])
    : entered({ ...migration, rounds, step: 'stopping' }, ['stop']);
}

function failed(migration: Migration, reason: AbortReason): Transition {
  switch (migration.state) {
    case 'released':
    case 'aborted':
      return unchanged(migration);
    case 'committed':
      // The session is the target's; what the source still has ends by its lease.
      return entered({ ...migration, state: 'released' }, []);
    case 'requested':
    case 'reserved':
    case 'copying': {
      const stopped = isAt(migration, 'stopping') || isAt(migration, 'switching');
      const commands: MigrationCommand[] = ['cancelTarget', 'releaseSource'];
      if (stopped && reason !== 'ended') commands.push('resume');
      return entered({ ...migration, state: 'aborted', reason }, commands);
    }
  }
}

function entered(next: Migration, commands: readonly MigrationCommand[]): Transition {
  return { next, commands, changed: true };
}

function unchanged(next: Migration): Transition {
  return { next, commands: [], changed: false };
}
