/** All instances of the served model: what the controller published, kept in step with what each engine says. */
import type { Dialect, EngineInfo, EngineLoad, Role, Tokenizer, TokenizerSource } from '../../engines/index.ts';
import type { Directory } from '../../kv/index.ts';
import { type Clock, SluiceError } from '../../shared/index.ts';
import { Family, familyKey } from '../identity/index.ts';
import type { BlockSource, BlockSources } from '../kv/sources.ts';
import { openEndpoint, originOf } from './endpoint.ts';
import { Feed } from './feed.ts';
import type { Group } from './group.ts';
import { Instance } from './instance.ts';
import type { PublishedInstance, PublishedList } from './published.ts';

export interface RegistryOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly directory: Directory;
  /** What tells of blocks in place of the feeds; null = the feeds do. */
  readonly sources?: BlockSources | null;
  readonly loadTokenizer: (source: TokenizerSource) => Promise<Tokenizer>;
  /** Something an operator should know. */
  readonly onNotice: (message: string, instance: string) => void;
  /** An instance drains, or is to be emptied; called again and again while it is so. */
  readonly onDraining: () => void;
}

export interface InstanceStatus {
  readonly id: string;
  readonly incarnation: string;
  readonly role: Role;
  readonly draining: boolean;
  readonly emptied: boolean;
  readonly connected: boolean;
  /** A request went well through it. */
  readonly proven: boolean;
  readonly inFlight: number;
  /** Null until it has told. */
  readonly dialect: Dialect | null;
  /** Where its feed is. */
  readonly url: string;
  /** Where requests go: elsewhere when an agent stands beside the engine. */
  readonly requestUrl: string;
  /** How it is known what it holds. */
  readonly blocksFrom: BlockSource;
}

interface Member {
  readonly instance: Instance;
  readonly feed: Feed;
}

export class Registry {
  readonly #options: RegistryOptions;
  readonly #members = new Map<string, Member>();
  readonly #groups = new Map<string, Group>();
  #generation = -1;
  #model: string;

  constructor(model: string, options: RegistryOptions) {
    this.#model = model;
    this.#options = options;
  }

  get model(): string {
    return this.#model;
  }

  get generation(): number {
    return this.#generation;
  }

  get instances(): Instance[] {
    return [...this.#members.values()].map((member) => member.instance);
  }

  /** @throws SluiceError not_found */
  instance(id: string): Instance {
    const member = this.#members.get(id);
    if (member) return member.instance;
    const known = [...this.#members.keys()].join(', ');
    throw new SluiceError('not_found', `no instance ${id.slice(0, 128)}; there is: ${known || 'none'}`);
  }

  get groups(): IterableIterator<Group> {
    return this.#groups.values();
  }

  /** Takes the whole list. An older generation than the known one changes nothing; false then. */
  publish(list: PublishedList): boolean {
    if (list.generation < this.#generation) return false;
    this.#generation = list.generation;
    this.#model = list.model;
    const wanted = new Map(list.instances.map((one) => [one.id, one]));
    for (const [id, { instance }] of this.#members) {
      const published = wanted.get(id);
      if (!published || published.incarnation !== instance.incarnation || published.url !== instance.published.url) this.#remove(id);
    }
    for (const published of wanted.values()) {
      const member = this.#members.get(published.id) ?? this.#add(published);
      member.instance.draining = published.draining;
    }
    if (list.instances.some(({ draining }) => draining)) this.#options.onDraining();
    return true;
  }

  /** Usable instances that nothing went through yet. */
  get unproven(): number {
    return this.instances.filter(({ unproven }) => unproven).length;
  }

  /** How it is known what an instance holds. */
  sourceOf(instance: Instance): BlockSource {
    const { sources } = this.#options;
    if (sources) return sources.sourceOf(instance);
    return instance.connected ? 'feed' : 'none';
  }

  status(): InstanceStatus[] {
    return this.instances.map((instance) => {
      const { id, incarnation, role, draining, emptied, connected, proven, inFlight, info, published, requests } = instance;
      return {
        id,
        incarnation,
        role,
        draining,
        emptied,
        connected,
        proven,
        inFlight,
        dialect: info?.dialect ?? null,
        url: published.url,
        requestUrl: requests.url,
        blocksFrom: this.sourceOf(instance),
      };
    });
  }

  close(): void {
    for (const id of this.#members.keys()) this.#remove(id);
  }

  #add(published: PublishedInstance): Member {
    const { clock, random } = this.#options;
    const instance = new Instance({ ...published, published: openEndpoint(published.url, clock), now: clock.now() });
    const { pool, host } = instance.published;
    const listener = {
      info: (info: EngineInfo) => this.#described(instance, info),
      load: (load: EngineLoad) => {
        instance.reported(load);
        instance.pulse.told(load.quietMs ?? 0, clock.now());
        if (load.draining || instance.emptied) this.#options.onDraining();
      },
      update: (update: Parameters<Directory['apply']>[1]) => {
        const outcome = this.#options.directory.apply(instance.id, update);
        return outcome === 'applied' || outcome === 'stale';
      },
      lost: (reason: string) => this.#lost(instance, reason),
    };
    const tells = this.#options.sources ? 'load' : 'all';
    const member = { instance, feed: new Feed({ pool, host, clock, random, listener, pulse: instance.pulse, tells }) };
    this.#members.set(published.id, member);
    return member;
  }

  #remove(id: string): void {
    const member = this.#members.get(id);
    if (!member) return;
    this.#members.delete(id);
    member.feed.close();
    this.#lost(member.instance, 'removed from the list');
    // Requests that are still on it keep their connections; idle ones are closed.
    member.instance.closeEndpoints();
  }

  #described(instance: Instance, info: EngineInfo): boolean {
    if (info.incarnation !== instance.incarnation) {
      this.#options.onNotice(`it lives its life ${info.incarnation}, published was ${instance.incarnation}`, instance.id);
      return false;
    }
    const { requestUrl } = info;
    const origin = requestUrl === null ? instance.published.url : originOf(requestUrl);
    if (origin === null) {
      this.#options.onNotice(`its requestUrl must be like http://host:port; got ${String(requestUrl).slice(0, 80)}`, instance.id);
      return false;
    }
    if (origin !== instance.requests.url)
      instance.servedBy(origin === instance.published.url ? null : openEndpoint(origin, this.#options.clock));
    instance.info = info;
    instance.lostBecause = null;
    this.#options.directory.joinStore(instance.id, info.store ?? null);
    this.#options.sources?.connected(instance);
    this.#groupOf(info).instances.add(instance);
    return true;
  }

  #lost(instance: Instance, reason: string): void {
    if (instance.info) {
      this.#options.directory.fence(instance.id);
      this.#options.directory.joinStore(instance.id, null);
    }
    this.#options.sources?.left(instance);
    instance.lost(reason);
    for (const [key, group] of this.#groups) {
      group.instances.delete(instance);
      // The last one stays, so that a pool that restarts finds its tokenizer loaded.
      if (group.instances.size === 0 && this.#groups.size > 1) this.#groups.delete(key);
    }
  }

  #groupOf(info: EngineInfo): Group {
    const key = `${info.dialect} ${familyKey(info)}`;
    const known = this.#groups.get(key);
    if (known) return known;
    const group: Group = { info, family: null, instances: new Set() };
    this.#groups.set(key, group);
    if (this.#groups.size > 1)
      this.#options.onNotice('its KV is not interchangeable with that of other instances; pairs stay apart', info.instance);
    void this.#loadFamily(group);
    return group;
  }

  async #loadFamily(group: Group): Promise<void> {
    try {
      group.family = new Family(group.info, await this.#options.loadTokenizer(group.info.tokenizer));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#options.onNotice(`its tokenizer cannot be loaded, so requests are placed by load alone: ${why}`, group.info.instance);
      group.family = new Family(group.info, null);
    }
  }
}
