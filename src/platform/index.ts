export type {
  Address,
  InstanceSpec,
  Observed,
  ObservedInstance,
  ObservedRouter,
  Outcome,
  Phase,
  Platform,
  PodSettings,
  PublishedInstance,
  Role,
  RoutedInstance,
  RouterSpec,
  Step,
} from './port.ts';
export { ProcessPlatform, type ProcessPlatformOptions, type RunningProcess } from './process/platform.ts';
