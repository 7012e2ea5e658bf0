/** What counts of a deployment whose roll is paused. Pure. */
import type { ServingDeployment } from '../../api/index.ts';

/** What was taken up last, with the sizes and the switches of `present`. */
export function heldBack(taken: ServingDeployment, present: ServingDeployment): ServingDeployment {
  const { prefill, decode, router, rollout } = present.spec;
  const { spec } = taken;
  return {
    ...present,
    spec: {
      ...spec,
      prefill: spec.prefill && { ...spec.prefill, replicas: prefill?.replicas ?? spec.prefill.replicas },
      decode: { ...spec.decode, replicas: decode.replicas },
      router: { ...spec.router, replicas: router.replicas },
      rollout,
    },
  };
}
