/**
 * The schema of a PinnedContext: a beginning that many requests have, a document or a system prompt, whose KV stays with instances of
 * one ServingDeployment, whatever else wants the room.
 */
import { z } from 'zod';
import { anyText, deploymentName, labelValue, metadataKey } from './blocks/names.ts';
import { MAX_REPLICAS } from './blocks/pool.ts';
import { block, list, mapping, oneOf, text, wholeNumber } from './fields.ts';
import { ruled, withCelRules } from './rule.ts';
import { API_VERSION } from './schema.ts';
import { conditions, generation } from './status.ts';

export const PINNED_KIND = 'PinnedContext';

/** Characters of a text; a message has fewer, so that all of them fit into an object. */
const MAX_TEXT = 131_072;
const MAX_MESSAGE = 32_768;
const MAX_MESSAGES = 16;
const MAX_TOKENS = 100_000_000;
/** Far beyond any memory, and still a whole number to all who read it. */
const MAX_BYTES = Number.MAX_SAFE_INTEGER;

const metadata = block({
  name: deploymentName.describe('Name of the context. At most 53 characters.'),
  namespace: deploymentName.default('default').describe('Namespace: that of the ServingDeployment.'),
  labels: mapping(metadataKey, labelValue, 64).default({}).describe('Labels, at most 64.'),
  annotations: mapping(metadataKey, anyText(16_384), 64).default({}).describe('Annotations, at most 64 of at most 16,384 characters.'),
});

const message = block({
  role: oneOf(['system', 'user', 'assistant']).describe('Whose words they are.'),
  content: anyText(MAX_MESSAGE).describe('The words, exactly as requests have them. At most 32,768 characters.'),
});

const spec = block({
  deploymentRef: block({ name: deploymentName.describe('Name of the ServingDeployment.') }).describe(
    'ServingDeployment of the same namespace whose instances hold it. Cannot be changed: make another PinnedContext.',
  ),
  text: anyText(MAX_TEXT)
    .optional()
    .describe('Beginning of the `prompt` of requests to `/v1/completions`, exactly as they have it. At most 131,072 characters.'),
  messages: list(message, 'messages', MAX_MESSAGES)
    .optional()
    .describe('First messages of requests to `/v1/chat/completions`, exactly as they have them, such as one system prompt. At most 16.'),
  tenant: text({
    expected: '1 to 128 printable ASCII characters without spaces, as the header of router.saltHeader has them',
    pattern: /^[!-~]{1,128}$/,
    max: 128,
  })
    .optional()
    .describe('Tenant whose requests find it: the value of the header of `router.saltHeader`. Absent: requests without one.'),
  tier: oneOf(['host', 'store'])
    .default('host')
    .describe(
      'Where it stays: `host`, the memory of the instance beside its accelerator (`kv.host.capacity`), or `store`, below it (`kv.store`).',
    ),
  replicas: wholeNumber({ min: 1, max: MAX_REPLICAS, unit: 'instances' })
    .default(1)
    .describe('Instances that hold it, each of them whole: those that compute prompts (prefill; without a prefill pool all). 1 to 64.'),
});

const DEPLOYMENT_STAYS = {
  rule: 'self.deploymentRef.name == oldSelf.deploymentRef.name',
  message: 'expected the deploymentRef that it was made with: make another PinnedContext, and delete this one',
  fieldPath: '.deploymentRef',
};
const contents = ['text', 'messages'] as const;
const pinnedSpec = withCelRules(
  ruled(spec, [
    {
      field: '',
      expected: 'one of text and messages: say what is pinned, as the prompt of completions or as the first messages of chats',
      cel: 'has(self.text) != has(self.messages)',
      holds: (given) => contents.filter((name) => given[name] !== undefined).length === 1,
    },
    {
      field: '',
      expected: 'text or messages that are not empty: what is pinned are the blocks of KV of its tokens',
      cel: "(!has(self.text) || self.text != '') && (!has(self.messages) || size(self.messages) > 0)",
      holds: (given) => given.text !== '' && given.messages?.length !== 0,
    },
    {
      field: 'replicas',
      expected: '1 with tier store: one instance sees to it that it stays there; leave replicas out, or let tier be host',
      cel: "self.tier != 'store' || self.replicas == 1",
      holds: ({ tier, replicas }) => tier !== 'store' || replicas === 1,
    },
  ]),
  [DEPLOYMENT_STAYS],
);

const blocks = wholeNumber({ min: 0, max: MAX_TOKENS, unit: 'blocks' });
const bytes = wholeNumber({ min: 0, max: MAX_BYTES, unit: 'bytes' });
const percentage = text({ expected: 'a share such as 12.5%', pattern: /^[0-9]{1,5}(\.[0-9])?%$/, max: 8 });

const holder = block({
  instance: deploymentName.describe('Name of the instance within the deployment, such as `prefill-0`.'),
  tier: oneOf(['host', 'store']).describe('Where it is: in host memory there, or in the store that this instance sees to.'),
  blocks: blocks.describe('Blocks of KV.'),
  bytes: bytes.describe('Bytes of these blocks. Blocks that several contexts begin with count in each, and take their room once.'),
  share: percentage.describe('Of the capacity of the tier there, such as `12.5%`.'),
});

export const pinnedContextStatus = block({
  observedGeneration: generation.optional().describe('`metadata.generation` of the spec that this status is about.'),
  conditions: conditions.optional().describe('What holds and what does not, and why.'),
  tokens: wholeNumber({ min: 0, max: MAX_TOKENS, unit: 'tokens' })
    .optional()
    .describe('Tokens of the beginning that all requests with it have. Those after the last whole block are computed anew for each.'),
  blocks: blocks.optional().describe('Whole blocks of KV of these tokens.'),
  bytes: bytes.optional().describe('What it costs: bytes on all holders together.'),
  holders: z
    .array(holder, { error: 'a list of holders' })
    .max(MAX_REPLICAS, { error: `a list of at most ${MAX_REPLICAS} holders` })
    .meta({
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['instance'],
      form: { name: 'list', bounds: `at most ${MAX_REPLICAS}` },
    })
    .optional()
    .describe('Instances that hold it whole, by name.'),
  resident: text({ expected: 'holders/wanted, such as 1/2', pattern: /^[0-9]{1,3}\/[0-9]{1,3}$/, max: 7 })
    .optional()
    .describe('Holders and wanted ones as `kubectl get` shows them, such as `1/2`.'),
  share: percentage.optional().describe('The largest share of the tier that it takes on one instance.'),
});

export const pinnedContextSchema = block({
  apiVersion: z.literal(API_VERSION, { error: API_VERSION }).describe('Version of the resource.'),
  kind: z.literal(PINNED_KIND, { error: PINNED_KIND }).describe('Kind of the resource.'),
  metadata: metadata.describe('What names the resource.'),
  spec: pinnedSpec.describe('What is wanted.'),
});

/** A manifest that parsed, defaults filled in. */
export type PinnedContextManifest = z.output<typeof pinnedContextSchema>;
export type PinnedContextStatus = z.output<typeof pinnedContextStatus>;

/** As the rest of Sluice sees it. */
export interface PinnedContext {
  readonly name: string;
  readonly namespace: string;
  /** Name of its ServingDeployment. */
  readonly deployment: string;
  readonly content:
    | { readonly kind: 'text'; readonly text: string }
    | { readonly kind: 'chat'; readonly messages: readonly { readonly role: string; readonly content: string }[] };
  /** '' = shared. */
  readonly tenant: string;
  readonly tier: 'host' | 'store';
  readonly replicas: number;
}

/** @param manifest that parsed */
export function pinnedContext({
  metadata: { name, namespace },
  spec: given,
}: Pick<PinnedContextManifest, 'metadata' | 'spec'>): PinnedContext {
  const { deploymentRef, messages, tenant = '', tier, replicas } = given;
  const content = messages === undefined ? ({ kind: 'text', text: given.text ?? '' } as const) : ({ kind: 'chat', messages } as const);
  return { name, namespace, deployment: deploymentRef.name, content, tenant, tier, replicas };
}
