export {
  type AttemptRecord,
  type LegReport,
  type MoveRecord,
  type RecordSummary,
  type RequestOutcome,
  type RequestRecord,
  type SpanOrigin,
  summaryOf,
} from './record.ts';
export { RecordRing } from './ring.ts';
