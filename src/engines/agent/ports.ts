/**
 * TCP ports for a process that cannot be told to take any, and that takes them only when it has loaded its model. Until then another
 * process could get them: so they are none of those that the system gives to connections, and other agents leave them alone.
 */
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { SluiceError } from '../../shared/index.ts';
import { claimUnits } from './claims.ts';
import type { EnginePorts } from './kind.ts';

/** How many ports below those for connections are looked at, and the first one that needs no special rights. */
const SPAN = 12_000;
const FIRST_FREE = 1_024;
const TRIES = 500;
const USUAL_RANGE = '32768 60999';

/**
 * The claim on them lasts until this process ends.
 * @throws SluiceError unavailable when none was found; the listen error of node:net, for example EADDRNOTAVAIL for a host that this machine has not
 */
export async function pickPorts(host: string): Promise<EnginePorts> {
  const [from, to] = portsForServers(connectionRange());
  const found: number[] = [];
  for (let tries = 0; tries < TRIES && found.length < 4; tries++) {
    const port = randomInt(from, to + 1);
    if (found.includes(port)) continue;
    const claim = await claimUnits('port', [port], 1, { maxOwners: 1 });
    if (claim === null) continue;
    if (await isFree(host, port)) found.push(port);
    else claim.release();
  }
  const [http, sideChannel, events, replay] = found;
  if (http === undefined || sideChannel === undefined || events === undefined || replay === undefined) {
    throw new SluiceError('unavailable', `no four free ports between ${from} and ${to}: end what listens there`);
  }
  return { http, sideChannel, events, replay };
}

/** First and last port to choose from. Pure. @param range first and last of those that connections get, as the system writes them */
export function portsForServers(range: string): readonly [number, number] {
  const [first = 0, last = 0] = range.trim().split(/\s+/).map(Number);
  const below: readonly [number, number] = [Math.max(FIRST_FREE, first - SPAN), first - 1];
  if (below[1] - below[0] >= SPAN / 4) return below;
  // Connections get nearly all of them.
  return last <= 65_535 - SPAN / 4 ? [last + 1, 65_535] : [FIRST_FREE, 65_535];
}

function connectionRange(): string {
  try {
    return readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8');
  } catch {
    return USUAL_RANGE;
  }
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE') resolve(false);
      else reject(error);
    });
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
