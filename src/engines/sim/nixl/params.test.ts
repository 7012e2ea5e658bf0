import { describe, expect, it } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import { createSimEngine } from '../engine.ts';
import { readTransfer, transferAnswer } from './params.ts';

const core = await createSimEngine({ instance: 's', role: 'mixed', modelName: 'm', clock: new FakeClock(), blockTokens: 16 });
const { info } = core;
await core.close();

const GIVEN = {
  do_remote_prefill: true,
  do_remote_decode: false,
  remote_block_ids: [[1, 2, 3]],
  remote_engine_id: 'engine',
  remote_request_id: 'cmpl-1-0-abcdef01',
  remote_host: '127.0.0.1',
  remote_port: 7,
  tp_size: 1,
};

describe('kv_transfer_params', () => {
  it('are read as given out', () => {
    const answer = transferAnswer(info, { requestId: 'cmpl-r-0-00000000', tokens: 33, cachedTokens: 16 });
    expect(readTransfer(JSON.parse(JSON.stringify(answer)), info)).toEqual({
      kind: 'take',
      cachedTokens: 16,
      ticket: {
        instance: info.incarnation,
        incarnation: info.incarnation,
        host: info.transfer.host,
        port: info.transfer.port,
        lease: 'cmpl-r-0-00000000',
        blocks: 3,
        bytes: 3 * info.bytesPerBlock,
        leaseMs: 0,
      },
    });
  });

  it.each([
    ['nothing', null, 'none'],
    ['an empty object', {}, 'none'],
    ['a pull that is over', { ...GIVEN, do_remote_prefill: false }, 'none'],
    ['a wish to keep', { do_remote_decode: true, do_remote_prefill: false, remote_block_ids: null }, 'keep'],
    ['all that is needed', GIVEN, 'take'],
    ['no block ids', { ...GIVEN, remote_block_ids: undefined }, 'deadly'],
    ['an empty list of block ids', { ...GIVEN, remote_block_ids: [] }, 'deadly'],
    ['block ids without a group', { ...GIVEN, remote_block_ids: [1, 2] }, 'deadly'],
    ['block ids of two groups', { ...GIVEN, remote_block_ids: [[1], [2]] }, 'deadly'],
    ['no rank count', { ...GIVEN, tp_size: undefined }, 'deadly'],
    ['a port in words', { ...GIVEN, remote_port: '7' }, 'deadly'],
    ['block ids that no engine has', { ...GIVEN, remote_block_ids: [[10_000_001]] }, 'unreadable'],
    ['block ids below zero', { ...GIVEN, remote_block_ids: [[-1]] }, 'unreadable'],
    ['no host', Object.fromEntries(Object.entries(GIVEN).filter(([name]) => name !== 'remote_host')), 'stuck'],
  ])('%s', (_what, params, kind) => {
    expect(readTransfer(params, info).kind).toBe(kind);
  });
});
