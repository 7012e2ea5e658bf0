/**
 * Connections to transfer servers, used for one pull after another. A new connection starts with a small receive window, so that
 * the first megabytes of each would move at a fraction of the speed.
 */
import { connect, type Socket } from 'node:net';
import type { Cancel, Clock } from '../../shared/index.ts';

/** Who uses a connection at the moment. */
export interface ConnectionUser {
  /** Where the next bytes belong; never empty. */
  room(): Uint8Array;
  /** So many bytes were read into it; false pauses reading until `resume`. */
  took(count: number): boolean;
  /** The connection is of no more use. `connected` is false when it never was. */
  lost(reason: string, connected: boolean): void;
}

export class PullConnection {
  readonly #socket: Socket;
  readonly #onClosed: () => void;
  /**
   * Node asks for the memory of a read before it is known who will use the connection: the first bytes of a use come here and are copied on.
   */
  readonly #lobby = Buffer.alloc(64);
  #target: Uint8Array = this.#lobby;
  #user: ConnectionUser | null = null;
  #connected = false;
  /** While idle: bytes of the last answer that are still to come. */
  #owed = 0;
  #open = true;

  constructor(address: { readonly host: string; readonly port: number }, onClosed: (connection: PullConnection) => void) {
    this.#onClosed = () => onClosed(this);
    this.#socket = connect({
      host: address.host,
      port: address.port,
      noDelay: true,
      onread: { buffer: () => this.#nextTarget(), callback: (count) => this.#read(count) },
    });
    this.#socket.once('connect', () => {
      this.#connected = true;
    });
    this.#socket.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code ?? 'unknown';
      this.#lost(this.#connected ? `connection lost (${code})` : `cannot connect to the peer (${code})`);
    });
    this.#socket.once('end', () => this.#lost('the peer closed the connection'));
    this.#socket.once('close', () => this.#lost('the connection closed'));
  }

  get reusable(): boolean {
    return this.#open && this.#owed === 0 && this.#user === null;
  }

  use(user: ConnectionUser): void {
    this.#user = user;
    this.#socket.ref();
  }

  write(bytes: Uint8Array): void {
    this.#socket.write(bytes);
  }

  resume(): void {
    this.#socket.resume();
  }

  /** The user is done with it; `owed` bytes of its answer are still to come. Does not keep the process alive. */
  rest(owed: number): void {
    this.#user = null;
    this.#owed = owed;
    this.#socket.unref();
  }

  /** Says the last words and closes: destroying at once could reset the connection before the peer read them. */
  endWith(bytes: Uint8Array, options: { readonly clock: Clock; readonly graceMs: number }): void {
    this.#user = null;
    this.#owed = Number.POSITIVE_INFINITY;
    const cancel = options.clock.after(options.graceMs, () => this.destroy());
    this.#socket.once('close', cancel);
    this.#socket.end(bytes);
    this.#socket.resume();
  }

  /** Its user hears nothing more. Idempotent. */
  destroy(): void {
    this.#user = null;
    this.#lost('');
  }

  #nextTarget(): Uint8Array {
    this.#target = this.#user?.room() ?? this.#lobby;
    return this.#target;
  }

  #read(count: number): boolean {
    if (this.#target !== this.#lobby) return this.#user?.took(count) ?? true;
    if (this.#user) return this.#handOn(this.#lobby.subarray(0, count), this.#user);
    this.#owed -= count;
    if (this.#owed < 0) this.destroy();
    return true;
  }

  #handOn(bytes: Buffer, user: ConnectionUser): boolean {
    let goOn = true;
    for (let at = 0; at < bytes.length && this.#user === user; ) {
      const copied = bytes.copy(user.room(), 0, at);
      at += copied;
      goOn = user.took(copied);
    }
    return goOn;
  }

  #lost(reason: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#socket.destroy();
    this.#onClosed();
    const user = this.#user;
    this.#user = null;
    user?.lost(reason, this.#connected);
  }
}

export interface ConnectionStoreOptions {
  readonly clock: Clock;
  /** Idle connections kept per peer. */
  readonly perPeer: number;
  /** How long an idle one is kept; less than the server keeps it. */
  readonly idleMs: number;
}

/** Idle connections by peer. */
export class ConnectionStore {
  readonly #options: ConnectionStoreOptions;
  readonly #idle = new Map<string, { connection: PullConnection; cancel: Cancel }[]>();

  constructor(options: ConnectionStoreOptions) {
    this.#options = options;
  }

  /** An idle connection to the peer, or a new one. */
  take(address: { readonly host: string; readonly port: number }): PullConnection {
    const idle = this.#idle.get(nameOf(address)) ?? [];
    for (let at = idle.length - 1; at >= 0; at--) {
      const kept = idle[at];
      if (!kept?.connection.reusable) continue;
      this.#forget(kept.connection);
      return kept.connection;
    }
    return new PullConnection(address, (connection) => this.#forget(connection));
  }

  /** Keeps a connection whose user is done; `owed` bytes of the last answer are still to come. False: there are enough. */
  keep(address: { readonly host: string; readonly port: number }, connection: PullConnection, owed: number): boolean {
    const name = nameOf(address);
    const idle = this.#idle.get(name) ?? [];
    if (idle.length >= this.#options.perPeer) return false;
    connection.rest(owed);
    idle.push({ connection, cancel: this.#options.clock.after(this.#options.idleMs, () => connection.destroy()) });
    this.#idle.set(name, idle);
    return true;
  }

  close(): void {
    const connections = [...this.#idle.values()].flatMap((idle) => idle.map((kept) => kept.connection));
    for (const connection of connections) connection.destroy();
  }

  #forget(connection: PullConnection): void {
    for (const [name, idle] of this.#idle) {
      const at = idle.findIndex((kept) => kept.connection === connection);
      if (at < 0) continue;
      idle[at]?.cancel();
      idle.splice(at, 1);
      if (idle.length === 0) this.#idle.delete(name);
      return;
    }
  }
}

function nameOf({ host, port }: { readonly host: string; readonly port: number }): string {
  return `${host}:${port}`;
}
