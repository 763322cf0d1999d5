import type { NetlinkBatch, NetlinkSubscription } from 'bpf-napi';
import type { Clock } from '#core/clock.ts';
import { freeCycle } from '#core/cycle.ts';
import type { NetnsEntry } from '../../netns.ts';
import type { NetlinkClient } from '../client.ts';
import { LINK_REQUEST } from '../link.ts';
import { encodeRequest, NLM_F_DUMP } from '../message.ts';
import { type Change, NetworkState } from './network_state.ts';
import { decodeNotices, RTM, type What } from './notices.ts';

const NETLINK_ROUTE = 0;
/** enum rtnetlink_groups: LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE, IPV6_RULE. Open to everyone. */
const GROUPS = [1, 3, 5, 7, 8, 9, 11, 19];

/** Room for the burst of a starting node: 4 KiB for each message about a device. Without CAP_NET_ADMIN the kernel grants net.core.rmem_max. */
const QUEUE_BYTES = 8 * 1024 * 1024;
const DATAGRAM_BYTES_MAX = 64 * 1024;
const BUFFER_BYTES = 128 * 1024;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** Interval between two reads of the state, so that a flood of notifications causes no flood of dumps; also the pause before a retry. */
const PAUSE_MS = 1_000;
/** Wait before a read: the kernel reports that a device went down before it removes its routes (net/core/dev.c, __dev_notify_flags()). */
const SETTLE_MS = 100;
/** Maximum number of buffers received in one go, so that fast changes cannot hold up the thread. */
const BATCHES_MAX = 64;

const ALL: readonly What[] = ['link', 'address', 'route', 'rule', 'neighbour'];
/** Size of the longest family header of a dump request; the kernel reads only the family of it. */
const HEADER_BYTES = 16;

export interface NetworkChangesOptions {
  readonly client: NetlinkClient;
  readonly entry: NetnsEntry;
  readonly clock: Clock;
  readonly told: (change: Change, state: NetworkState) => void;
  /** Called when notifications were lost. */
  readonly overran: () => void;
  /** Bytes that the kernel may queue; 8 MiB by default. */
  readonly queueBytes?: number;
}

/**
 * Follows the changes in the network of one namespace. After lost notifications the whole state is read again, and the difference
 * counts as changes; a change that was undone meanwhile stays unknown.
 */
export class NetworkChanges implements AsyncDisposable {
  readonly state: NetworkState;
  readonly #options: NetworkChangesOptions;
  readonly #asked = new Set<What>();
  #subscription: NetlinkSubscription | undefined;
  #reading: Promise<void> | undefined;
  #isStale = false;
  #readMs = Number.NEGATIVE_INFINITY;
  readonly #ending = new AbortController();
  /** False while the initial state is read, which is no change. */
  #begun = false;

  private constructor(options: NetworkChangesOptions) {
    this.#options = options;
    const { client, told } = options;
    this.state = new NetworkState(
      (change) => {
        if (this.#begun) told(change, this.state);
      },
      (what) => client.malformed({ what: `${what} changes` })('no room for more'),
    );
  }

  /**
   * Subscribes, and reads the initial state.
   * @throws {Unsupported} if the namespace may not be entered
   * @throws if the namespace is gone, or a dump failed
   */
  static async open(options: NetworkChangesOptions): Promise<NetworkChanges> {
    const changes = new NetworkChanges(options);
    try {
      changes.#subscribe();
      for (const what of ALL) changes.#asked.add(what);
      if (!(await changes.#read())) throw new Error('the kernel did not answer');
      changes.#begun = true;
      changes.#subscription?.resume();
      return changes;
    } catch (error) {
      await changes[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Whether the last read of the state failed, so that the state may be wrong until the next. */
  get isStale(): boolean {
    return this.#isStale;
  }

  /** Leaves notifications in the kernel until `resume`. */
  pause(): void {
    this.#subscription?.pause();
  }

  resume(): void {
    this.#subscription?.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ending.abort();
    await this.#reading;
    this.#subscription?.close();
    this.#subscription = undefined;
  }

  #subscribe(): void {
    const { client, entry, queueBytes = QUEUE_BYTES } = this.#options;
    this.#subscription = client.subscribe(
      entry,
      {
        protocol: NETLINK_ROUTE,
        what: 'changes',
        groups: GROUPS,
        queueBytes,
        bufferBytes: BUFFER_BYTES,
        datagramBytesMax: DATAGRAM_BYTES_MAX,
        onBatch: (batch) => this.#take(batch),
      },
      freeCycle(),
    );
    this.#subscription.pause();
  }

  #take({ messages, overrun }: NetlinkBatch): void {
    const { client, overran } = this.#options;
    const malformed = client.malformed({ what: 'changes' });
    for (const notice of decodeNotices(messages, malformed)) {
      const asked = this.state.apply(notice);
      if (asked !== undefined) this.#asked.add(asked);
    }
    if (overrun) {
      overran();
      for (const what of ALL) this.#asked.add(what);
    }
    if (this.#asked.size > 0) this.#readSoon();
  }

  #readSoon(): void {
    if (this.#begun) this.#reading ??= this.#readUntilKnown();
  }

  async #readUntilKnown(): Promise<void> {
    const { clock } = this.#options;
    const { signal } = this.#ending;
    while (this.#asked.size > 0) {
      await clock.sleep(Math.max(SETTLE_MS, this.#readMs + PAUSE_MS - clock.now()), signal);
      if (!signal.aborted) this.#isStale = !(await this.#read());
      if (signal.aborted) return;
      this.#subscription?.resume();
    }
    this.#reading = undefined;
  }

  /**
   * Reads the parts of the state that are asked for. Notifications wait in the kernel meanwhile, since they are newer than the answer;
   * those that are there already are received first.
   * @returns false if a dump failed, which is counted; it stays asked for
   */
  async #read(): Promise<boolean> {
    const { client, entry, clock } = this.#options;
    this.#readMs = clock.now();
    this.#subscription?.pause();
    this.#drain();
    for (const what of [...this.#asked]) {
      this.#asked.delete(what);
      const request =
        what === 'link' ? LINK_REQUEST : encodeRequest(RTM[what] + 2, NLM_F_DUMP, new Uint8Array(HEADER_BYTES));
      const question = { protocol: NETLINK_ROUTE, what: `${what} changes`, request };
      const messages = await client.askLong(entry, question, ANSWER_BYTES_MAX, freeCycle());
      if (this.#ending.signal.aborted) return false;
      if (messages === undefined) {
        this.#asked.add(what);
        return false;
      }
      this.state.replace(what, decodeNotices(messages, client.malformed(question)));
    }
    return true;
  }

  /** After an overrun the kernel drops notifications until the socket is empty. */
  #drain(): void {
    for (let batches = 0; batches < BATCHES_MAX; batches++) if (this.#subscription?.receive() !== false) return;
  }
}
