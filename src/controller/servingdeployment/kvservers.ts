/** What instances and routers are told of the servers that they share. Pure. */
import type { Credentials, NatsSpec, RedisSpec, ServingDeployment } from '../../api/index.ts';
import type { KvServers, MountedSecret } from '../../platform/index.ts';

/** Where pods find what Secrets hold. */
const FOLDER = '/etc/sluice/kv';

/** Null when the deployment names none. Secrets become folders where instances are pods; elsewhere whoever reads them says that there are none. */
export function kvServersOf({ metadata, spec: { kv } }: ServingDeployment, target: 'processes' | 'pods'): KvServers | null {
  if (kv.redis === null && kv.nats === null) return null;
  const secrets: MountedSecret[] = [];
  const told = (server: 'redis' | 'nats', credentials: Credentials | undefined): { credentials?: Credentials } => {
    if (credentials === undefined) return {};
    if (target === 'processes' || credentials.secret === undefined) return { credentials };
    const folder = `${FOLDER}/${server}`;
    secrets.push({ volume: `kv-${server}`, secret: credentials.secret, folder });
    return { credentials: { folder } };
  };
  const shown = (server: 'redis' | 'nats', block: RedisSpec | NatsSpec | null) =>
    block === null ? {} : { [server]: { ...block, ...told(server, block.credentials) } };
  // Names of objects have no other characters than the name of a space may have.
  const space = `${metadata.namespace}.${metadata.name}`;
  return { settings: JSON.stringify({ space, ...shown('redis', kv.redis), ...shown('nats', kv.nats) }), secrets };
}
