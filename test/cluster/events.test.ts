import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import {
  CONFIG_MAPS,
  type ConfigMap,
  EVENTS,
  EventRecorder,
  type Happening,
  type RecorderOptions,
} from '../../src/platform/kubernetes/index.ts';
import { Admin } from './admin.ts';
import { type Bed, openClient, until } from './bed.ts';

describe('events', () => {
  let bed: Bed;
  let namespace = '';
  let object: ConfigMap;
  const recorders: EventRecorder[] = [];
  beforeAll(async () => {
    bed = await openClient(inject('kubeconfig'), 'sluice');
    namespace = await new Admin(inject('kubeconfig')).namespace('events');
    const made = await bed.client.create(CONFIG_MAPS, { metadata: { name: 'subject', namespace } });
    if (made.kind !== 'written') throw new Error(made.kind);
    object = made.object;
  });
  afterAll(async () => {
    await Promise.all(recorders.map((one) => one.stop()));
    bed.close();
  });

  function recorder(options: Partial<RecorderOptions> = {}): EventRecorder {
    const one = new EventRecorder({ client: bed.client, reporter: { controller: 'sluice.dev/test', instance: 'test-1' }, ...options });
    recorders.push(one);
    return one;
  }
  const happening = (reason: string, note = 'one of two'): Happening => ({
    regarding: object,
    type: 'Warning',
    reason,
    action: 'Scale',
    note,
  });
  const events = async (reason: string) => (await bed.client.list(EVENTS, { namespace })).items.filter((one) => one.reason === reason);

  it('of one kind become one object that counts', async () => {
    const one = recorder({ countEveryMs: 50 });
    for (let time = 0; time < 3; time += 1) one.record(happening('Repeated'));
    await until(
      async () => (await events('Repeated'))[0]?.series?.count === 3,
      () => 'no series of 3',
    );
    one.record(happening('Repeated'));
    await until(
      async () => (await events('Repeated'))[0]?.series?.count === 4,
      () => 'no series of 4',
    );
    expect(await events('Repeated')).toMatchObject([
      {
        type: 'Warning',
        action: 'Scale',
        note: 'one of two',
        reportingController: 'sluice.dev/test',
        regarding: { kind: 'ConfigMap', apiVersion: 'v1', name: 'subject', namespace, uid: object.metadata.uid },
      },
    ]);
  });

  it('with another note, or after a while, are another', async () => {
    const one = recorder({ forgetAfterMs: 20, countEveryMs: 1 });
    one.record(happening('Differs', 'one'));
    one.record(happening('Differs', 'two'));
    await until(
      async () => (await events('Differs')).length === 2,
      () => 'not two',
    );
    await until(
      async () => {
        one.record(happening('Differs', 'three'));
        await new Promise((resolve) => setTimeout(resolve, 60));
        return (await events('Differs')).length >= 4;
      },
      () => 'the old one is not forgotten',
    );
  });

  it('are bounded in rate and number, and what is dropped is counted', async () => {
    // The fourth would come after 100 s.
    const one = recorder({ pace: { perSecond: 0.01, burst: 3 }, maxSeries: 5 });
    for (let index = 0; index < 50; index += 1) one.record(happening('Flood', `note ${index}`));
    expect(one.dropped).toBe(45);
    await until(
      async () => (await events('Flood')).length === 3,
      () => 'not 3',
    );
  });

  it('that the API server refuses are dropped with the reason', async () => {
    const why: string[] = [];
    const one = recorder({ onDropped: (_, reason) => why.push(reason) });
    const nowhere = { ...object, metadata: { ...object.metadata, name: 'UPPER CASE' } };
    one.record({ ...happening('Refused'), regarding: nowhere });
    await until(
      () => why.length === 1,
      () => JSON.stringify(why),
    );
    expect(why[0]).toMatch(/metadata.name|lowercase|RFC 1123/);
  });
});
