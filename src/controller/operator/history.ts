/** The ControllerRevisions of every deployment, found without a walk over those of all. */
import { type ControllerRevision, LABELS, type StoreView } from '../../platform/kubernetes/index.ts';
import type { Latest } from './latest.ts';
import { type DeploymentObject, isOwnedBy } from './resources.ts';

export class RevisionHistory {
  readonly #latest: Latest<ControllerRevision>;
  /** Keys of revisions, by the key of the deployment that they are labelled with. */
  readonly #keys = new Map<string, Set<string>>();

  constructor(store: StoreView<ControllerRevision>, latest: Latest<ControllerRevision>) {
    this.#latest = latest;
    const owners = new Map<string, string>();
    store.subscribe((key) => {
      const name = store.get(key)?.metadata.labels?.[LABELS.deployment];
      const owner = name === undefined ? owners.get(key) : `${key.slice(0, key.indexOf('/'))}/${name}`;
      if (owner === undefined) return;
      if (store.get(key) === undefined) {
        owners.delete(key);
        this.#forget(owner, key);
      } else {
        owners.set(key, owner);
        this.note(owner, key);
      }
    });
  }

  /** One that was just written, which the watch has not shown yet. */
  note(owner: string, key: string): void {
    const keys = this.#keys.get(owner) ?? new Set();
    this.#keys.set(owner, keys.add(key));
  }

  of(owner: DeploymentObject): ControllerRevision[] {
    const { namespace, name } = owner.metadata;
    const keys = [...(this.#keys.get(`${namespace}/${name}`) ?? [])];
    return keys.flatMap((key) => {
      const revision = this.#latest.get(key);
      return revision !== undefined && isOwnedBy(revision, owner) ? [revision] : [];
    });
  }

  #forget(owner: string, key: string): void {
    const keys = this.#keys.get(owner);
    keys?.delete(key);
    if (keys?.size === 0) this.#keys.delete(owner);
  }
}
