/** Somebody who has a namespace and serves models in it. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parse } from 'yaml';
import { type DeploymentObject, SERVING_DEPLOYMENTS } from '../../../src/controller/operator/index.ts';
import { LABELS, PODS, type Pod, SERVICES } from '../../../src/platform/kubernetes/index.ts';
import type { RequestRecord } from '../../../src/router/index.ts';
import type { Admin } from '../admin.ts';
import { type Bed, isSettled, openClient, until } from '../bed.ts';
import { describePods, type PodList } from './pods.ts';
import { RESTRICTED } from './release.ts';

const SAMPLES = fileURLToPath(new URL('../../../manifests/samples/', import.meta.url));
const ADMIN_PORT = 8081;
/** Real engines on a machine that may do much else. */
const SETTLED_WITHIN_MS = 300_000;

/** The parts of a spec that tests change. */
export interface Spec {
  readonly model: { readonly name: string };
  readonly engine: Readonly<Record<string, unknown>>;
  readonly prefill: Pool;
  readonly decode: Pool;
  readonly [field: string]: unknown;
}

interface Pool {
  readonly replicas: number;
  readonly resources: object;
}

/** A real engine, as the sample has it; with less CPU asked for, because the machine of a test may have two. */
export function sample(name: string): Spec {
  const { spec }: { readonly spec: Spec } = parse(readFileSync(`${SAMPLES}${name}.yaml`, 'utf8'));
  const resources = { requests: { cpu: '50m', memory: '300Mi' }, limits: { memory: '1Gi' } };
  return { ...spec, prefill: { ...spec.prefill, resources }, decode: { ...spec.decode, resources } };
}

export interface Answer {
  readonly id: string;
  readonly text: string;
}

export interface Question {
  readonly model: string;
  readonly prompt: string;
  readonly tokens: number;
}

export class Tenant {
  readonly namespace: string;
  readonly #admin: Admin;
  readonly #bed: Bed;

  private constructor(admin: Admin, namespace: string, bed: Bed) {
    this.#admin = admin;
    this.namespace = namespace;
    this.#bed = bed;
  }

  static async open(admin: Admin, kubeconfig: string): Promise<Tenant> {
    const namespace = await admin.namespace('tenant');
    const body = { metadata: { labels: RESTRICTED } };
    await admin.demand('PATCH', `/api/v1/namespaces/${namespace}`, { body, contentType: 'application/merge-patch+json' });
    return new Tenant(admin, namespace, await openClient(kubeconfig, 'kubectl'));
  }

  async close(): Promise<void> {
    this.#bed.close();
    await this.#admin.demand('DELETE', `/api/v1/namespaces/${this.namespace}`);
  }

  /** As `kubectl apply` does. */
  async apply(name: string, spec: Spec): Promise<void> {
    const applied = await this.#bed.client.apply(SERVING_DEPLOYMENTS, { metadata: { name, namespace: this.namespace }, spec });
    if (applied.kind !== 'written') throw new Error(`${name} is not taken: ${JSON.stringify(applied)}`);
  }

  async delete(name: string): Promise<void> {
    const deleted = await this.#bed.client.delete(SERVING_DEPLOYMENTS, { namespace: this.namespace, name });
    if (deleted.kind === 'rejected') throw new Error(deleted.message);
  }

  /** @param graceSeconds as the pod has it when absent; 0 kills it. */
  async deletePod(name: string, graceSeconds?: number): Promise<void> {
    const query = graceSeconds === undefined ? '' : `?gracePeriodSeconds=${graceSeconds}`;
    await this.#admin.demand('DELETE', `/api/v1/namespaces/${this.namespace}/pods/${name}${query}`);
  }

  /** As `kubectl scale servingpool` does. */
  async scale(pool: string, replicas: number): Promise<void> {
    const path = `/apis/serving.sluice.dev/v1alpha1/namespaces/${this.namespace}/servingpools/${pool}/scale`;
    await this.#admin.demand('PATCH', path, { body: { spec: { replicas } }, contentType: 'application/merge-patch+json' });
  }

  async get(name: string): Promise<DeploymentObject> {
    const object = await this.#bed.client.get(SERVING_DEPLOYMENTS, { namespace: this.namespace, name });
    if (object === null) throw new Error(`${name} is not there`);
    return object;
  }

  async pods(name: string, component?: string): Promise<readonly Pod[]> {
    const labels = [`${LABELS.deployment}=${name}`, ...(component === undefined ? [] : [`${LABELS.component}=${component}`])];
    const path = `/api/v1/namespaces/${this.namespace}/${PODS.plural}?labelSelector=${encodeURIComponent(labels.join(','))}`;
    return (await this.#admin.demand<PodList>('GET', path)).items;
  }

  /** Until the newest spec is served and no pod comes or goes any more. */
  async settled(name: string): Promise<DeploymentObject> {
    let last: DeploymentObject | null = null;
    let pods: readonly Pod[] = [];
    await until(
      async () => {
        last = await this.get(name);
        pods = await this.pods(name);
        return isSettled(last) && pods.every(({ metadata }) => metadata.deletionTimestamp === undefined);
      },
      () => `${JSON.stringify(last?.status, null, 1)}\n${describePods({ items: pods })}`,
      SETTLED_WITHIN_MS,
    );
    return this.get(name);
  }

  /** Of the Service, by its address: this machine asks other name servers than the cluster's. */
  async url(name: string): Promise<string> {
    const service = await this.#bed.client.get(SERVICES, { namespace: this.namespace, name });
    const [port] = service?.spec?.ports ?? [];
    if (!service?.spec?.clusterIP || !port) throw new Error(`Service ${name} has no address: ${JSON.stringify(service)}`);
    return `http://${service.spec.clusterIP}:${port.port}`;
  }

  /** The text of one stream; throws unless it ended well. */
  async ask(name: string, { model, prompt, tokens }: Question): Promise<Answer> {
    const response = await fetch(`${await this.url(name)}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model, prompt, max_tokens: tokens, temperature: 0, ignore_eos: true, stream: true }),
    });
    const id = response.headers.get('x-request-id') ?? '';
    const said = await response.text();
    if (!said.endsWith('data: [DONE]\n\n') || said.includes('"error"')) throw new Error(`${id}: ${response.status} ${said.slice(-500)}`);
    const events = said.split('\n\n').filter((event) => event.startsWith('data: {'));
    return { id, text: events.map((event) => textOf(event.slice('data: '.length))).join('') };
  }

  /** Requests under way by pod of an instance, over all routers. */
  async inFlight(name: string): Promise<ReadonlyMap<string, number>> {
    const counts = new Map<string, number>();
    for (const body of await this.#askRouters(name, 'instances')) {
      const { instances }: { readonly instances: readonly { readonly id: string; readonly inFlight: number }[] } = JSON.parse(body);
      for (const { id, inFlight } of instances) counts.set(`${name}-${id}`, (counts.get(`${name}-${id}`) ?? 0) + inFlight);
    }
    return counts;
  }

  /** What the router that had the request tells of it; null when none knows it (any more). */
  async record(name: string, id: string): Promise<RequestRecord | null> {
    const [body] = await this.#askRouters(name, `requests/${id}`);
    return body === undefined ? null : JSON.parse(body);
  }

  /**
   * Good answers of the admin ports. Through the API server, because network policies let the operator alone in; what the node itself
   * sends they do not keep out.
   */
  async #askRouters(name: string, what: string): Promise<readonly string[]> {
    const answers = (await this.pods(name, 'router')).map(({ metadata }) =>
      this.#admin.request('GET', `/api/v1/namespaces/${this.namespace}/pods/${metadata.name}:${ADMIN_PORT}/proxy/admin/${what}`),
    );
    const all = await Promise.all(answers);
    // One that only comes or goes does not answer; that none does is no answer at all.
    if (all.length > 0 && all.every(({ status }) => status >= 500)) throw new Error(`no router answers: ${all[0]?.body}`);
    return all.filter(({ status }) => status === 200).map(({ body }) => body);
  }
}

function textOf(json: string): string {
  const event: { readonly choices?: readonly { readonly text?: string }[] } = JSON.parse(json);
  return event.choices?.[0]?.text ?? '';
}
