import { describe, expect, it } from 'vitest';
import { MetricTable } from './table.ts';

describe('MetricTable', () => {
  it('reads gauges and totals at each scrape, with the labels of the table', async () => {
    const table = new MetricTable({ engine: '0' });
    let value = 3;
    table.gauge({ name: 'depth', help: 'Depth.' }, () => [{ value, labels: { tier: 'hbm' } }], ['tier']);
    table.total({ name: 'done_total', help: 'Done.' }, () => [{ value }]);
    expect(await table.text()).toContain('depth{tier="hbm",engine="0"} 3');
    value = 4;
    const text = await table.text();
    expect(text).toContain('depth{tier="hbm",engine="0"} 4');
    expect(text).toContain('# TYPE done_total counter\ndone_total{engine="0"} 4');
  });

  it('counts by label and fills histograms', async () => {
    const table = new MetricTable({});
    const count = table.count({ name: 'ended_total', help: 'Ended.' }, ['reason']);
    count.add(2, { reason: 'stop' });
    const seconds = table.histogram({ name: 'took_seconds', help: 'Took.' }, [0.1, 1]);
    seconds.observe(0.5);
    const text = await table.text();
    expect(text).toContain('ended_total{reason="stop"} 2');
    expect(text).toContain('took_seconds_bucket{le="0.1"} 0');
    expect(text).toContain('took_seconds_bucket{le="1"} 1');
    expect(text).toContain('took_seconds_sum 0.5');
  });

  it('keeps tables apart', async () => {
    new MetricTable({}).gauge({ name: 'same', help: 'Same.' }, () => []);
    const other = new MetricTable({});
    other.gauge({ name: 'same', help: 'Same.' }, () => [{ value: 1 }]);
    expect(await other.text()).toContain('same 1');
  });
});
