export { type Desired, type DesiredPool, desiredOf } from './servingdeployment/desired.ts';
export { type Loop, type LoopOptions, type Round, startLoop } from './servingdeployment/loop.ts';
export { plan } from './servingdeployment/plan.ts';
export { type Condition, condition, type RoleStatus, type Status, status } from './servingdeployment/status.ts';
