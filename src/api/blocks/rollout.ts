/** `rollout`: how a change of the spec comes about. */
import { block, flag, wholeNumber } from '../fields.ts';

export const rollout = block({
  paused: flag()
    .default(false)
    .describe(
      'Whether changes wait: nothing that serves is replaced, and changes of other fields than `replicas` are taken up when it is false again. Sizes, restarts and drains go on. `sluice rollout pause` and `resume` set it.',
    ),
  history: wholeNumber({ min: 2, max: 50, unit: 'revisions' })
    .default(10)
    .describe(
      'Revisions of the spec that are kept for `sluice rollout undo`, the present one among them, 2 to 50. Used on Kubernetes; the process platform keeps none.',
    ),
});
