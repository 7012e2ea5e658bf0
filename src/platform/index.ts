export {
  type InstanceMemory,
  type InstancePin,
  type PinCall,
  type PinningInstance,
  type PinRequest,
  readPins,
  tellPins,
} from './pins.ts';
export type {
  Address,
  InstanceSpec,
  KvServers,
  MountedSecret,
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
  RoutedKv,
  RouterSpec,
  Step,
} from './port.ts';
export { ProcessPlatform, type ProcessPlatformOptions, type RunningProcess } from './process/platform.ts';
