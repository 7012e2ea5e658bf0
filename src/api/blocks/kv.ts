/** `kv`: the KV tier. */
import { z } from 'zod';
import { block, duration, quantity } from '../fields.ts';
import { type Rule, ruled } from '../rule.ts';
import { nats, redis } from './kvservers.ts';
import { kvStore } from './kvstore.ts';
import { tierName } from './names.ts';

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const MIB = 2 ** 20;
const TIB = 2 ** 40;

const memory = () => block({ capacity: quantity({ min: MIB, max: TIB }).default('256Mi').describe('Bytes per instance, 1Mi to 1Ti.') });

const fields = block({
  blockTokens: z
    .literal([8, 16, 32, 64], { error: 'one of 8, 16, 32, 64 (tokens)' })
    .meta({ type: 'integer' })
    .optional()
    .describe(
      'Tokens per KV block: 8, 16, 32 or 64; vLLM wants 32 or 64 on the CPU, and no 8 on accelerators. Smaller blocks reuse more, larger ones cost less to name and move. Absent: 16, and 32 with vLLM on the CPU.',
    ),
  hbm: memory()
    .default({ capacity: '256Mi' })
    .describe(
      "KV memory of the engine itself (the accelerator's memory; on the CPU what its context may take). With `parallelism.tensor` per accelerator. SGLang does not use it: it takes what `--mem-fraction-static` in `engine.args` leaves it.",
    ),
  host: memory()
    .default({ capacity: '256Mi' })
    .describe(
      'Host memory for blocks evicted from the engine and for blocks kept for a hand-off. vLLM and SGLang keep both in their own KV memory and do not use it.',
    ),
  store: kvStore
    .optional()
    .describe(
      'Where blocks go that host memory gives up, and come back from when that is faster than computing them. Absent: they are forgotten.',
    ),
  lease: duration({ min: SECOND, max: HOUR })
    .default('30s')
    .describe('How long a prefill instance keeps the blocks of a hand-off that nobody acknowledges, as a duration, 1s to 1h.'),
  redis,
  nats,
  tierRef: block({ name: tierName.describe('Name of the KVTier, in the namespace of the deployment. At most 53 characters.') })
    .optional()
    .describe('KVTier with `redis`, `nats` and `store` for several deployments, in place of the three here. See docs/kv-tier.md.'),
});

/** What the tier has is not said twice: which of the two would count is nothing to guess. */
const fromTier = (['redis', 'nats', 'store'] as const).map(
  (name): Rule<z.output<typeof fields>> => ({
    field: name,
    expected: `no ${name} beside tierRef: remove it here, or remove tierRef; the KVTier {tierRef.name} says which there is`,
    cel: `!has(self.tierRef) || !has(self.${name})`,
    holds: (given) => given.tierRef === undefined || given[name] === undefined,
  }),
);

export const kv = ruled(fields, fromTier);
