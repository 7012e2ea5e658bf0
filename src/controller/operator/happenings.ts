/** Steps of a round as events for people. Pure. */
import type { Step } from '../../platform/index.ts';
import type { Happening } from '../../platform/kubernetes/index.ts';
import type { Done } from '../servingdeployment/apply.ts';
import type { DeploymentObject } from './resources.ts';

const REASONS = {
  startInstance: 'StartInstance',
  restartInstance: 'RestartInstance',
  drainInstance: 'DrainInstance',
  stopInstance: 'StopInstance',
  startRouter: 'StartRouter',
  restartRouter: 'RestartRouter',
  stopRouter: 'StopRouter',
} as const satisfies Partial<Record<Step['type'], string>>;

/** Every reason that an event about a step may have. */
export const STEP_REASONS: readonly string[] = [...Object.values(REASONS), 'StepRefused'];

/** Lists that routers are told are left out: they change with everything else. */
export function happenings(regarding: DeploymentObject, done: readonly Done[]): Happening[] {
  return done.flatMap(({ step, outcome }): Happening[] => {
    if (step.type === 'publishInstances') return [];
    const action = REASONS[step.type];
    if (outcome.ok) return [{ regarding, type: 'Normal', reason: action, action, note: `${step.name}: ${step.reason}` }];
    return [{ regarding, type: 'Warning', reason: 'StepRefused', action, note: `${step.name}: ${outcome.message}` }];
  });
}
