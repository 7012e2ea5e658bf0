import { expect, it } from 'vitest';
import { causeOf } from './reason.ts';

it('takes the first error that is not hearsay', () => {
  const cause = causeOf([
    '(APIServer pid=1) INFO 11-25 10:00:00 [api_server.py:1] starts',
    '(EngineCore pid=2) ERROR 11-25 10:00:01 [core.py:9] Traceback (most recent call last):',
    '(EngineCore pid=2) ERROR 11-25 10:00:01 [core.py:9]   File "x.py", line 1, in f',
    '(EngineCore pid=2) ERROR 11-25 10:00:01 [core.py:9] torch.OutOfMemoryError: no memory left',
    '(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}',
  ]);
  expect(cause).toBe('torch.OutOfMemoryError: no memory left');
});

it.each([
  [
    ['usage: vllm serve [model_tag] [options]', 'vllm: error: unrecognized arguments: --frobnicate'],
    'unrecognized arguments: --frobnicate',
  ],
  [['OSError: [Errno 98] Address already in use'], 'OSError: [Errno 98] Address already in use'],
  [
    ['RuntimeError: Engine core initialization failed. See root cause above.'],
    'RuntimeError: Engine core initialization failed. See root cause above.',
  ],
  [['one', '', 'two', 'three', 'four'], 'two | three | four'],
  [[], ''],
])('%j', (lines, cause) => expect(causeOf(lines)).toBe(cause));

it('is short', () => expect(causeOf([`ValueError: ${'x'.repeat(5000)}`])).toHaveLength(600));
