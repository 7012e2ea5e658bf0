export { type PinLoop, startPinLoop } from './pinnedcontext/loop.ts';
export { type Changes, changesOf, type Part, type PartChange } from './servingdeployment/changes.ts';
export { type Desired, type DesiredPool, desiredOf } from './servingdeployment/desired.ts';
export { heldBack } from './servingdeployment/held.ts';
export { type Loop, type LoopOptions, type Round, startLoop } from './servingdeployment/loop.ts';
export { plan } from './servingdeployment/plan.ts';
export { type Condition, condition, type RoleStatus, type Status, status } from './servingdeployment/status.ts';
