/** Who wrote what and when, in the words of the API server itself: its audit log. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Asked {
  readonly at: string;
  readonly user: string;
  /** `patch servingpools/status chat-decode`. */
  readonly what: string;
  readonly resource: string;
  readonly verb: string;
  readonly code: number;
}

interface AuditEvent {
  readonly verb: string;
  readonly user: { readonly username: string };
  readonly objectRef?: { readonly resource?: string; readonly subresource?: string; readonly name?: string };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
}

const WRITES = { level: 'Metadata', verbs: ['create', 'update', 'patch', 'delete'] };

export class Audit {
  readonly #folder = mkdtempSync(join(tmpdir(), 'sluice-audit-'));
  readonly #log = join(this.#folder, 'audit.log');

  /**
   * Flags of kube-apiserver.
   * @param user whose requests alone are kept, the reading ones too; else the writes of everybody
   */
  flags(user: string | null = null): string[] {
    const policy = join(this.#folder, 'policy.yaml');
    const rules = [user === null ? WRITES : { level: 'Metadata', users: [user] }, { level: 'None' }];
    // JSON is YAML.
    writeFileSync(policy, JSON.stringify({ apiVersion: 'audit.k8s.io/v1', kind: 'Policy', omitStages: ['RequestReceived'], rules }));
    return [`--audit-policy-file=${policy}`, `--audit-log-path=${this.#log}`];
  }

  /** Requests of users whose name ends in one of `names`, as they came in. */
  requests(names: readonly string[]): Asked[] {
    const lines = readFileSync(this.#log, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'));
    const events = lines.map((line): AuditEvent => JSON.parse(line));
    const ours = events.flatMap((event) => {
      const user = names.find((name) => event.user.username.endsWith(name));
      return user === undefined ? [] : [{ user, event }];
    });
    return ours
      .sort((a, b) => (a.event.requestReceivedTimestamp < b.event.requestReceivedTimestamp ? -1 : 1))
      .map(({ user, event: { verb, objectRef = {}, responseStatus, requestReceivedTimestamp } }) => {
        const { resource = '', subresource, name = '' } = objectRef;
        const what = `${verb} ${[resource, subresource].filter(Boolean).join('/')} ${name}`;
        return { at: requestReceivedTimestamp, user, what, resource, verb, code: responseStatus?.code ?? 0 };
      });
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
