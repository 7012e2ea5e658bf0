/** The shared directory in Redis. A face of its own, so that who does without Redis does not load its client. */
export { type RedisDirectory, type RedisDirectoryOptions, redisDirectory } from './directory.ts';
export type { RedisServers, RedisTls } from './settings.ts';
