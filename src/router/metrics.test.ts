import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { memoryDirectory, memoryEventBus, memorySharedDirectory } from '../kv/index.ts';
import { FakeClock } from '../shared/index.ts';
import { createLogger } from '../telemetry/index.ts';
import { SpanExporter } from '../telemetry/traces/index.ts';
import { Admission } from './admission/admission.ts';
import { DEFAULT_CONFIG } from './config.ts';
import { Forwarder } from './forward.ts';
import { Registry } from './instances/registry.ts';
import { DirectoryHints } from './kv/hints.ts';
import { BlockSources } from './kv/sources.ts';
import { RouterMetrics } from './metrics.ts';

it('has the metrics of docs/metrics.md, of the same types, and no other', async () => {
  const clock = new FakeClock();
  const made = { clock, random: () => 0, directory: memoryDirectory({ clock }), loadTokenizer: () => Promise.reject(new Error('none')) };
  const sources = new BlockSources({ ...made, bus: memoryEventBus({ clock }) });
  const hints = new DirectoryHints(memorySharedDirectory({ clock }), clock);
  const log = createLogger({ name: 'router', level: 'silent', format: 'json' });
  const spans = new SpanExporter({ endpoint: 'http://127.0.0.1:1', resource: {}, clock, random: () => 0, log });
  const registry = new Registry('m', { ...made, sources, onNotice: () => undefined, onDraining: () => undefined });
  const text = await new RouterMetrics({
    registry,
    admission: new Admission(DEFAULT_CONFIG.limits, clock),
    forwarder: new Forwarder(DEFAULT_CONFIG, clock),
    sources,
    hints,
    spans,
  }).text();
  const exported = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => `${name} ${type}`);
  const document = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
  const documented = [...document.matchAll(/^\| `(sluice_router_\S+)` \| (\w+) \|/gm)].map(([, name, type]) => `${name} ${type}`);
  expect(exported.sort()).toEqual(documented.sort());
});
