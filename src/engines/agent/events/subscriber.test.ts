import { afterEach, describe, expect, it, vi } from 'vitest';
import { FakeClock } from '../../../shared/index.ts';
import type { CacheEvent } from './event.ts';
import { type FakeOptions, FakePublisher, seqFrame } from './publisher.fixture.ts';
import { EventSubscriber, type SubscriberLimits } from './subscriber.ts';

/** Short, since silence is waited for, and long enough for an engine that does answer, as all do at the start. */
const SOON_SILENT = { answerMs: 500 };

const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const it of open.splice(0).reverse()) await it.close();
});

async function publisher(life = 1, options: FakeOptions = {}): Promise<FakePublisher> {
  const fake = await FakePublisher.start(life, options);
  open.push(fake);
  return fake;
}

/** A subscriber and what its ledger heard: numbers of messages, and `clear`. */
function follower(fake: FakePublisher, limits: Partial<SubscriberLimits> = {}) {
  const heard: (number | 'clear')[] = [];
  const warnings: string[] = [];
  const clock = new FakeClock();
  const subscriber = new EventSubscriber({
    endpoint: fake.endpoint,
    replayEndpoint: fake.replayEndpoint,
    topic: 'kv',
    ledger: {
      apply: (events: readonly CacheEvent[]) =>
        heard.push(...events.flatMap((event) => (event.type === 'removed' ? event.hashes.map(Number) : []))),
      clear: () => heard.push('clear'),
    },
    clock,
    // Silence is told soon where a test is about it; elsewhere answers come in time on a busy machine too.
    limits: { answerMs: 5_000, ...limits },
    warn: (text) => warnings.push(text),
  });
  open.push(subscriber);
  return { subscriber, heard, warnings, clock };
}

async function following(fake: FakePublisher, limits: Partial<SubscriberLimits> = {}) {
  const all = follower(fake, limits);
  await all.subscriber.start();
  await fake.subscribed;
  return all;
}

function until(check: () => void): Promise<void> {
  return vi.waitFor(check, { timeout: 8_000, interval: 5 });
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

describe('EventSubscriber', () => {
  it('takes what was published before it came, then what is published', async () => {
    const fake = await publisher();
    await fake.publish(3);
    const { subscriber, heard } = await following(fake);
    expect(heard).toEqual([0, 1, 2]);
    await fake.publish(2);
    await until(() => expect(heard).toEqual(upTo(5)));
    expect(subscriber.stats).toMatchObject({ taken: 5, gaps: 0, restarts: 0, givenUp: 0 });
  });

  it('fills a gap, in order, from the last message that it has', async () => {
    const fake = await publisher();
    const { subscriber, heard } = await following(fake);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    await fake.publish(3, { lost: true });
    await fake.publish(2);
    await until(() => expect(heard).toEqual(upTo(7)));
    expect(fake.asked).toEqual([0, 1]);
    expect(subscriber.stats).toMatchObject({ gaps: 1, restarts: 0, givenUp: 0 });
  });

  it('notices by itself that the newest messages were lost', async () => {
    const fake = await publisher();
    const { heard, clock } = await following(fake);
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0]));
    await fake.publish(2, { lost: true });
    clock.advance(5_000);
    await until(() => expect(heard).toEqual([0, 1, 2]));
  });

  it('holds what comes while it fills a gap', async () => {
    const fake = await publisher();
    const { subscriber, heard } = await following(fake);
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0]));
    await fake.publish(1, { lost: true });
    // These come after the question, live and in its answers too.
    fake.beforeAnswer = () => fake.publish(3);
    await fake.publish(1);
    await until(() => expect(heard).toEqual(upTo(6)));
    await fake.publish(1);
    await until(() => expect(heard).toEqual(upTo(7)));
    expect([fake.asked, subscriber.stats.gaps]).toEqual([[0, 0], 1]);
  });

  it('does not take a message twice', async () => {
    const fake = await publisher();
    const { subscriber, heard } = await following(fake);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    await fake.sendRaw(['kv', seqFrame(0), fake.payloadOf(0)]);
    await fake.sendRaw(['kv', seqFrame(1), fake.payloadOf(1)]);
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0, 1, 2]));
    expect(subscriber.stats.restarts).toBe(0);
  });

  it('knows a live copy of a repeated message when it comes late', async () => {
    const fake = await publisher();
    await fake.publish(3, { lost: true });
    const { subscriber, heard } = await following(fake);
    for (const seq of [1, 2]) await fake.sendRaw(['kv', seqFrame(seq), fake.payloadOf(seq)]);
    await fake.publish(1);
    await until(() => expect(heard).toEqual(upTo(4)));
    expect([fake.asked, subscriber.stats.gaps]).toEqual([[0], 0]);
  });

  it('starts anew when the numbers do', async () => {
    const fake = await publisher();
    const { subscriber, heard, warnings } = await following(fake);
    await fake.publish(3);
    await until(() => expect(heard).toEqual([0, 1, 2]));
    fake.beginLife(2);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1, 2, 'clear', 0, 1]));
    expect(subscriber.stats).toMatchObject({ restarts: 1, givenUp: 0 });
    expect(warnings).toEqual([expect.stringContaining('learned anew')]);
  });

  it('tells another life from a gap when its numbers are higher', async () => {
    const fake = await publisher();
    const { heard } = await following(fake);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    fake.beginLife(2);
    await fake.publish(4, { lost: true });
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0, 1, 'clear', 0, 1, 2, 3, 4]));
  });

  it('survives a cut, and tells another life by what it says even if the number fits', async () => {
    const fake = await publisher();
    const { heard } = await following(fake);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    fake.close();
    const again = await publisher(2, { endpoint: fake.endpoint, replayEndpoint: fake.replayEndpoint });
    await again.publish(2, { lost: true });
    await again.subscribed;
    await again.publish(1);
    await until(() => expect(heard).toEqual([0, 1, 'clear', 0, 1, 2]));
  });

  it('goes on after a cut of the connection alone', async () => {
    const fake = await publisher();
    const { subscriber, heard } = await following(fake);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    fake.close();
    const again = await publisher(1, { endpoint: fake.endpoint, replayEndpoint: fake.replayEndpoint });
    await again.publish(4, { lost: true });
    await until(() => expect(heard).toEqual([0, 1, 2, 3]));
    await again.subscribed;
    await again.publish(1);
    await until(() => expect(heard).toEqual(upTo(5)));
    expect(subscriber.stats.restarts).toBe(0);
    // Once that is known, messages are taken as they come.
    const { length } = again.asked;
    await again.publish(3);
    await until(() => expect(heard).toEqual(upTo(8)));
    expect(again.asked.length).toBe(length);
  });

  it('starts with the oldest message that is kept', async () => {
    const fake = await publisher(1, { kept: 3 });
    await fake.publish(10);
    const { heard } = await following(fake);
    expect(heard).toEqual([7, 8, 9]);
  });

  it('knows nothing of before when a gap is longer than what is kept', async () => {
    const fake = await publisher(1, { kept: 3 });
    const { heard } = await following(fake);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    await fake.publish(7, { lost: true });
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0, 1, 'clear', 7, 8, 9]));
  });

  it('asks again for answers that were dropped, the last one too', async () => {
    const fake = await publisher();
    await fake.publish(6);
    fake.dropAnswers.add(2).add(3).add(-1);
    const { heard } = await following(fake, SOON_SILENT);
    expect(heard).toEqual(upTo(6));
    expect(fake.asked.length).toBeGreaterThan(1);
  });

  it('gives up what can not be had and goes on from what comes', async () => {
    const fake = await publisher();
    const { subscriber, heard, warnings } = await following(fake, SOON_SILENT);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    fake.answers = false;
    await fake.publish(1, { lost: true });
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1, 'clear', 3, 4]));
    await fake.publish(1);
    await until(() => expect(heard.at(-1)).toBe(5));
    expect(subscriber.stats).toMatchObject({ givenUp: 1, restarts: 0 });
    expect(warnings).toEqual([expect.stringContaining('can not be had again')]);
  });

  it('keeps what it knows when there is no answer and nothing is known to be missing', async () => {
    const fake = await publisher();
    const { subscriber, heard, clock } = await following(fake, SOON_SILENT);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    fake.answers = false;
    clock.advance(5_000);
    await until(() => expect(fake.asked.length).toBe(4));
    fake.answers = true;
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0, 1, 2]));
    expect(subscriber.stats.givenUp).toBe(0);
  });

  it('trusts nothing when numbers fell and nobody can say why', async () => {
    const fake = await publisher();
    const { heard } = await following(fake, SOON_SILENT);
    await fake.publish(3);
    await until(() => expect(heard).toEqual([0, 1, 2]));
    fake.answers = false;
    fake.beginLife(2);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1, 2, 'clear', 0, 1]));
  });

  it('starts without an engine and follows it when it comes', async () => {
    const gone = await publisher();
    gone.close();
    const { subscriber, heard, clock } = follower(gone, SOON_SILENT);
    await subscriber.start();
    expect(heard).toEqual([]);
    const fake = await publisher(1, { endpoint: gone.endpoint, replayEndpoint: gone.replayEndpoint });
    await fake.publish(2);
    await fake.subscribed;
    clock.advance(5_000);
    await until(() => expect(heard).toEqual([0, 1]));
  });

  it('ignores frames that are no message, and does not trust what it knows after a message that can not be read', async () => {
    const fake = await publisher();
    const { subscriber, heard } = await following(fake);
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0]));
    await fake.sendRaw(['kv']);
    await fake.sendRaw(['kv', 'short', 'payload']);
    await fake.sendRaw(['kv', Buffer.alloc(8, 0x7f), 'payload', 'one more']);
    await fake.sendRaw(['kvother', Buffer.alloc(8, 0xff), Buffer.alloc(0)]);
    await fake.sendRaw(['another topic', seqFrame(1), fake.payloadOf(1)]);
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0, 1]));
    expect(subscriber.stats.malformed).toBe(4);
    await fake.publish(1, { payload: Buffer.from('ddffffffff', 'hex') });
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0, 1, 'clear', 3]));
    expect(subscriber.stats).toMatchObject({ malformed: 5, gaps: 0 });
  });

  it('recovers from a message with a number from nowhere', async () => {
    const fake = await publisher();
    const { heard } = await following(fake);
    await fake.publish(2);
    await until(() => expect(heard).toEqual([0, 1]));
    await fake.sendRaw(['kv', seqFrame(1_000_000), fake.payloadOf(1_000_000)]);
    await until(() => expect(heard).toContain(1_000_000));
    await fake.publish(1);
    await until(() => expect(heard.slice(heard.lastIndexOf('clear'))).toEqual(['clear', 0, 1, 2]));
  });

  it('holds a limited number of messages and gets the rest again', async () => {
    const fake = await publisher();
    const { subscriber, heard } = await following(fake, { heldMessages: 2 });
    await fake.publish(1);
    await until(() => expect(heard).toEqual([0]));
    fake.beforeAnswer = async () => {
      fake.beforeAnswer = () => Promise.resolve();
      await fake.publish(20);
    };
    await fake.publish(1, { lost: true });
    await fake.publish(1);
    await until(() => expect(heard.length).toBeGreaterThanOrEqual(3));
    await fake.publish(1);
    await until(() => expect(heard).toEqual(upTo(24)));
    expect(subscriber.stats.givenUp).toBe(0);
  });

  it('keeps up with ten thousand messages', async () => {
    const fake = await publisher();
    await fake.publish(5_000, { lost: true });
    const { subscriber, heard } = await following(fake);
    await fake.publish(5_000);
    await until(() => expect(heard.length).toBe(10_000));
    expect(heard).toEqual(upTo(10_000));
    expect(subscriber.stats.givenUp).toBe(0);
  });

  it('leaves nothing behind, closed at any time and twice', async () => {
    const fake = await publisher();
    fake.answers = false;
    const { subscriber, heard } = follower(fake);
    const started = subscriber.start();
    await until(() => expect(fake.asked).toEqual([0]));
    await subscriber.close();
    await started;
    await fake.publish(1);
    await subscriber.close();
    expect(heard).toEqual([]);
    const never = follower(fake).subscriber;
    await never.close();
  });

  it('says so when an address is none', async () => {
    const fake = await publisher();
    const { subscriber } = follower(fake);
    const wrong = new EventSubscriber({
      endpoint: 'nowhere',
      replayEndpoint: fake.replayEndpoint,
      topic: '',
      ledger: { apply: () => undefined, clear: () => undefined },
      clock: new FakeClock(),
    });
    open.push(wrong);
    await expect(wrong.start()).rejects.toThrow();
    await subscriber.close();
  });
});
