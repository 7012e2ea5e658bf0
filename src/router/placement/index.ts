export {
  type Aside,
  type Candidate,
  type Decision,
  type InstanceView,
  MAX_ASIDE,
  type PlacementRequest,
  type Terms,
  totalOf,
  ttftOf,
} from './decision.ts';
export { largestGap, nameOf, place, termName } from './place.ts';
