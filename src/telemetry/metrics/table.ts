/** Prometheus metrics of one process, on prom-client. Values that someone else counts are read when they are scraped. */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export interface MetricName {
  readonly name: string;
  readonly help: string;
}

export interface LabelledValue {
  readonly value: number;
  readonly labels?: Readonly<Record<string, string>>;
}

export interface Observer {
  observe(value: number): void;
}

export interface Count {
  add(value: number, labels?: Readonly<Record<string, string>>): void;
}

export class MetricTable {
  readonly #registry = new Registry();

  /** @param labels on every sample of this table. */
  constructor(labels: Readonly<Record<string, string>>) {
    this.#registry.setDefaultLabels({ ...labels });
  }

  /** A gauge whose samples `read` gives at each scrape. */
  gauge(metric: MetricName, read: () => readonly LabelledValue[], labelNames: readonly string[] = []): void {
    new Gauge({
      ...metric,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        for (const { value, labels } of read()) this.set({ ...labels }, value);
      },
    });
  }

  /** A counter that lives elsewhere: `read` gives its totals at each scrape. Name it with `_total`. */
  total(metric: MetricName, read: () => readonly LabelledValue[], labelNames: readonly string[] = []): void {
    new Counter({
      ...metric,
      labelNames: [...labelNames],
      registers: [this.#registry],
      collect() {
        this.reset();
        for (const { value, labels } of read()) this.inc({ ...labels }, value);
      },
    });
  }

  count(metric: MetricName, labelNames: readonly string[] = []): Count {
    const counter = new Counter({ ...metric, labelNames: [...labelNames], registers: [this.#registry] });
    return { add: (value, labels = {}) => counter.inc({ ...labels }, value) };
  }

  histogram(metric: MetricName, buckets: readonly number[]): Observer {
    return new Histogram({ ...metric, buckets: [...buckets], registers: [this.#registry] });
  }

  /** Prometheus text format 0.0.4. */
  async text(): Promise<string> {
    return await this.#registry.metrics();
  }
}

export const METRICS_CONTENT_TYPE = Registry.PROMETHEUS_CONTENT_TYPE;
