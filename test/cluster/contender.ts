/**
 * A contender for a lease as a process of its own: `contender.ts KUBECONFIG NAMESPACE LEASE IDENTITY TIMING`. It writes one line for each
 * notice, and while it leads `holds <ns>` every few milliseconds: the monotonic clock, which all processes of a machine share.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { Election, type Term } from '../../src/platform/kubernetes/index.ts';
import { openClient } from './bed.ts';

const STAMP_EVERY_MS = 5;
const [kubeconfig = '', namespace = '', name = '', identity = '', timing = ''] = process.argv.slice(2);

async function lead(term: Term): Promise<void> {
  while (!term.signal.aborted) {
    // What a leader may do at this instant, and the instant.
    if (term.holds()) process.stdout.write(`holds ${process.hrtime.bigint()}\n`);
    await delay(STAMP_EVERY_MS);
  }
}

const bed = await openClient(kubeconfig, identity);
const notice = (told: { readonly kind: string }) => process.stdout.write(`${told.kind} ${JSON.stringify(told)}\n`);
const election = new Election({ client: bed.client, namespace, name, identity, lead, timing: JSON.parse(timing), notice });
process.once('SIGTERM', () => void election.stop());
// Timers of the election do not keep a process alive.
const alive = setInterval(() => {}, 1_000);
await election.start();
clearInterval(alive);
bed.close();
