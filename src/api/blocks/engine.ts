/** `engine`: what every instance runs. */
import { block, decimalNumber, list, mapping, oneOf, text, wholeNumber } from '../fields.ts';
import { anyText, printable } from './names.ts';

const cost = (what: string, unit: string, max: number) =>
  decimalNumber({ min: 0, max, unit })
    .optional()
    .describe(`${what}, in ${unit}, 0 to ${max.toLocaleString('en-US')}. Default 0.`);
const costs = block({
  prefillFixed: cost('Fixed cost of a prefill', 'ms', 60_000),
  prefillPerToken: cost('Prefill per uncached token', 'ms per token', 1_000),
  prefillPerTokenContext: cost('Prefill per uncached token and token of context before it (attention)', 'ms per token²', 1),
  stepFixed: cost('Fixed cost of a decode step', 'ms', 60_000),
  stepPerSequence: cost('Decode step per running sequence', 'ms per sequence', 1_000),
  stepPerContextToken: cost('Decode step per token of context over all sequences', 'ms per token', 1),
  pullFixed: cost('Fixed cost of pulling KV from a peer', 'ms', 60_000),
  pullPerMiB: cost('Pulling KV per MiB', 'ms per MiB', 10_000),
});
export const sim = block({
  costs: costs.describe('Declared timing constants. Constants that are left out are 0; `{}` makes an engine that answers at once.'),
});

const variableName = {
  expected: 'the name of an environment variable: letters, digits and "_", not starting with a digit',
  pattern: /^[A-Za-z_][A-Za-z0-9_]{0,255}$/,
  max: 256,
};
const image = text({
  expected: 'a container image, such as registry.example.com/team/engine:1.2.0, without spaces',
  pattern: /^[A-Za-z0-9][-A-Za-z0-9._:/@]*$/,
  max: 512,
});

export const engine = block({
  type: oneOf(['llamacpp', 'sim', 'vllm', 'sglang']).describe(
    '`llamacpp` runs the model on the CPU, built in; `vllm` runs it with vLLM, on the CPU or on accelerators; `sglang` runs it with SGLang, on accelerators; `sim` runs none and follows declared timings.',
  ),
  image: image
    .optional()
    .describe(
      "Container image of the instances, at most 512 characters. Used on Kubernetes; the process platform ignores it. Absent: the operator's own image, which runs `llamacpp` and `sim`; for `vllm` and `sglang` name one.",
    ),
  imagePullPolicy: oneOf(['Always', 'IfNotPresent', 'Never'])
    .optional()
    .describe(
      'When a node pulls that image. Used on Kubernetes; the process platform ignores it. Absent: as Kubernetes does, Always for the tag latest, else IfNotPresent.',
    ),
  dtype: oneOf(['auto', 'bfloat16', 'float16', 'float32'])
    .optional()
    .describe(
      'Number format of weights and KV; only with `type: vllm` and `sglang`. Absent or `auto`: as the model says. With float32, greedy answers do not depend on what else is in the batch.',
    ),
  transferBackend: oneOf(['mooncake', 'nixl'])
    .optional()
    .describe('What carries KV from prefill to decode instances; only with `type: sglang`. Absent: mooncake.'),
  args: list(printable(1_024), 'texts', 64)
    .default([])
    .describe(
      'More arguments of the engine process (with vllm those of `vllm serve`, with sglang those of its server), at most 64 of at most 1,024 characters. Flags that Sluice sets itself are refused.',
    ),
  env: mapping(variableName, anyText(32_768), 128).default({}).describe('Environment variables added to the engine process, at most 128.'),
  contextTokens: wholeNumber({ min: 256, max: 131_072, unit: 'tokens' })
    .default(8_192)
    .describe('Longest prompt plus output of one request, in tokens, 256 to 131,072.'),
  maxSequences: wholeNumber({ min: 1, max: 256, unit: 'sequences' })
    .default(16)
    .describe('Requests that one instance decodes at the same time, 1 to 256.'),
  sim: sim.optional().describe('Settings of the simulated engine; only with `type: sim`.'),
});
