/**
 * Loaded before everything else (`node --import`): makes the wall clock of this process wrong, by the milliseconds that `SLUICE_TEST_CLOCKS`
 * has for the instance that it is, or for its command. Monotonic time stays as it is, as on a machine whose clock is wrong.
 */
import { isMainThread } from 'node:worker_threads';

const { argv, env } = process;
const at = argv.indexOf('--instance');
const name = (at < 0 ? argv[2] : argv[at + 1]) ?? '';
// A worker has the environment of its process, but not its arguments.
if (isMainThread) env['SLUICE_TEST_SHIFT_MS'] = String(JSON.parse(env['SLUICE_TEST_CLOCKS'] ?? '{}')[name] ?? 0);
const shiftMs = Number(env['SLUICE_TEST_SHIFT_MS']);

const RealDate = Date;
const trueNow = RealDate.now;
RealDate.now = () => trueNow() + shiftMs;
globalThis.Date = new Proxy(RealDate, {
  construct: (target, given, shown): object => Reflect.construct(target, given.length === 0 ? [target.now()] : given, shown),
  apply: (target) => new target(target.now()).toString(),
});
