import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { type Clock, systemClock } from '../../../shared/index.ts';
import { openEndpoint } from '../../instances/endpoint.ts';
import { Instance } from '../../instances/instance.ts';
import type { MoveRecord } from '../../record/index.ts';
import type { Choice } from '../choose.ts';
import { sessionHead } from '../heads.ts';
import { Move } from './move.ts';

const opened: { server: Server; instance: Instance }[] = [];
afterEach(() => {
  for (const { server, instance } of opened.splice(0)) {
    instance.closeEndpoints();
    server.close();
    server.closeAllConnections();
  }
});

/** An engine that gives these answers, by verb. */
async function engine(
  id: string,
  answers: Readonly<Record<string, string>>,
  clock: Clock,
): Promise<{ instance: Instance; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((request, response) => {
    const verb = request.url?.split('/').at(-1) ?? '';
    asked.push(verb);
    request.resume();
    response.end(answers[verb] ?? '{}');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const published = openEndpoint(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, clock);
  const instance = new Instance({ id, incarnation: 'a', role: 'decode', published, now: 0 });
  opened.push({ server, instance });
  return { instance, asked };
}

it.each([
  ['offer', { offer: '{}' }],
  ['offer', { offer: 'null' }],
  ['pull', { offer: '{"ticket":{}}', pull: '{}' }],
  ['pull', { offer: '{"ticket":{}}', pull: '{"handOff":{"blocks":"many"}}' }],
  ['pull', { offer: '{"ticket":{}}', pull: 'no JSON' }],
])('an answer to %s that says nothing ends the move and nothing else: %j', async (last, answers) => {
  const source = await engine('from', answers, systemClock);
  const target = await engine('to', answers, systemClock);
  const record: MoveRecord = {
    id: 'm',
    atMs: 0,
    from: 'from',
    to: 'to',
    why: 'test',
    way: 'blocks',
    state: 'requested',
    reason: null,
    tokens: 1,
    blocks: 0,
    bytes: 0,
    tookMs: 0,
    pauseMs: null,
    interTokenMs: null,
  };
  const message = (verb: string, { requests }: Instance) => ({ head: sessionHead(requests.host, verb, 0), body: Buffer.alloc(0) });
  const unwanted: string[] = [];
  await new Promise<void>((resolve) => {
    new Move({
      flight: {
        switchTo: () => unwanted.push('switch'),
        stranded: () => unwanted.push('stranded'),
        moveOver: () => resolve(),
      },
      speech: {
        session: 's',
        tokenIds: [1],
        nextGeneration: () => 2,
        hold: (instance) => message('hold', instance),
        command: (verb, instance) => message(verb, instance),
      },
      source: source.instance,
      choice: { decode: target.instance } as Choice,
      record,
      clock: systemClock,
      pullMs: 1_000,
      firstTokenMs: 1_000,
      context: {
        limits: { replyMs: 5_000, copyMs: 5_000, switchMs: 5_000 },
        newId: () => 'm',
        onTransition: () => undefined,
        onOver: () => undefined,
      },
    }).start();
  });
  expect(record).toMatchObject({ state: 'aborted', reason: 'refused' });
  expect((last === 'offer' ? source : target).asked).toContain(last);
  expect(unwanted).toEqual([]);
});
