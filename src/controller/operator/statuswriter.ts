/** Writes the status of objects of one kind, and nothing where it is as it was. */
import type { KubeObject, KubernetesClient, Resource } from '../../platform/kubernetes/index.ts';
import { isEqual } from './change.ts';
import type { Latest } from './latest.ts';

interface WithStatus<S> extends KubeObject {
  readonly status?: S;
}

export interface StatusWriterOptions<S> {
  readonly client: KubernetesClient;
  readonly resource: Resource<WithStatus<S>>;
  /** What is known of them: told what was written. */
  readonly latest: Pick<Latest<WithStatus<S>>, 'put'>;
}

export class StatusWriter<S> {
  readonly #options: StatusWriterOptions<S>;

  constructor(options: StatusWriterOptions<S>) {
    this.#options = options;
  }

  /** @throws Error when the API server refuses it. An object that is gone or another by now is left to the next round. */
  async write(object: WithStatus<S>, status: S): Promise<void> {
    if (isEqual(status, object.status)) return;
    const { client, resource, latest } = this.#options;
    const { name, namespace, uid } = object.metadata;
    const draft = { metadata: { name, ...(namespace === undefined ? {} : { namespace }), uid }, status };
    const applied = await client.applyStatus(resource, draft);
    if (applied.kind === 'written') latest.put(`${namespace}/${name}`, applied.object);
    else if (applied.kind === 'rejected')
      throw new Error(`the status of ${resource.kind} ${namespace}/${name} is refused: ${applied.message}`);
    else if (applied.kind === 'conflict') throw new Error(`others hold fields of the status: ${JSON.stringify(applied.conflicts)}`);
  }
}
