/** The store in Redis. A face of its own, so that who does without Redis does not load its client. */
export { type RedisStoreOptions, redisStore } from './store.ts';
