/** The event log on NATS. A face of its own, so that who does without NATS does not load its client. */
export { type NatsEventBusOptions, natsEventBus } from './bus.ts';
export type { NatsServers, NatsTls } from './settings.ts';
