export {
  type Candidate,
  type Decision,
  type InstanceView,
  MAX_CANDIDATES,
  type PlacementRequest,
  type Terms,
  totalOf,
  ttftOf,
} from './decision.ts';
export { largestGap, nameOf, place, termName } from './place.ts';
export { prefillMs, pullMs, stepMs } from './price.ts';
