/** `model`: what is served. */
import { block } from '../fields.ts';
import { printable } from './names.ts';

export const model = block({
  name: printable(256).describe('Name under which clients ask for the model (`model` of an OpenAI request). 1 to 256 characters.'),
  source: printable(4_096)
    .default('builtin:tiny')
    .describe(
      'Where the weights are: `builtin:tiny` (random weights that Sluice writes itself, 6 to 11 MB); with llamacpp else the path of a GGUF file, with vllm a folder that starts with `/`, `./` or `../`, or a name of the Hugging Face hub such as `org/name`; with sglang one of these two. A simulated engine ignores it. 1 to 4,096 characters.',
    ),
  revision: printable(128)
    .default('main')
    .describe(
      'Version of the weights; of a model of the hub its branch, tag or commit. KV is never shared between revisions. 1 to 128 characters.',
    ),
});
