import type { NetlinkBatch, NetlinkSubscription } from 'bpf-napi';
import type { Clock } from '#core/clock.ts';
import { freeCycle } from '#core/cycle.ts';
import type { NetnsEntry } from '../../netns.ts';
import type { NetlinkClient } from '../client.ts';
import { LINK_REQUEST } from '../link.ts';
import { encodeRequest, NETLINK, NLM_F_DUMP } from '../message.ts';
import { type Change, NetworkState } from './network_state.ts';
import { decodeNotices, RTM, type What } from './notices.ts';

/**
 * Multicast groups (enum rtnetlink_groups): LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV4_RULE, IPV6_IFADDR, IPV6_ROUTE,
 * IPV6_RULE. Joining them requires no privileges.
 */
const GROUPS = [1, 3, 5, 7, 8, 9, 11, 19];

/**
 * Size of the receive queue in bytes, sufficient for the notifications while a node starts. Each message about a device
 * takes up 4 KiB. Without CAP_NET_ADMIN, the kernel limits the size to net.core.rmem_max.
 */
const QUEUE_BYTES = 8 * 1024 * 1024;
const DATAGRAM_BYTES_MAX = 64 * 1024;
const BUFFER_BYTES = 128 * 1024;
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Minimum interval between two reads of the state, so that many notifications do not cause many dumps. Also the delay
 * before a retry.
 */
const PAUSE_MS = 1_000;
/**
 * Delay before a read. Required because the kernel removes the routes of a device only after it has reported that the
 * device is down (net/core/dev.c, __dev_notify_flags()).
 */
const SETTLE_MS = 100;
/** Maximum number of buffers to receive without pausing, so that rapid changes cannot block the thread. */
const BATCHES_MAX = 64;

const ALL: readonly What[] = ['link', 'address', 'route', 'rule', 'neighbour'];
/** Size of the longest header in a dump request. The kernel reads only the address family in it. */
const HEADER_BYTES = 16;

export interface NetworkChangesOptions {
  readonly client: NetlinkClient;
  readonly entry: NetnsEntry;
  readonly clock: Clock;
  readonly told: (change: Change, state: NetworkState) => void;
  /** Called when notifications were lost. */
  readonly overran: () => void;
  /** Maximum number of bytes that the kernel queues; 8 MiB by default. */
  readonly queueBytes?: number;
}

/**
 * Follows network changes in one namespace. If notifications are lost, the whole state is read again, and differences
 * are reported as changes. Changes that were undone in the meantime are not detected.
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
  /** False while the initial state is being read, which is not reported as changes. */
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
   * Subscribes and reads the initial state.
   * @throws {Unsupported} if the namespace cannot be entered
   * @throws if the namespace is gone or a dump failed
   */
  static async open(options: NetworkChangesOptions): Promise<NetworkChanges> {
    const changes = new NetworkChanges(options);
    try {
      changes.#subscribe();
      for (const what of ALL) changes.#asked.add(what);
      if (!(await changes.#read())) throw new Error('the kernel did not respond');
      changes.#begun = true;
      changes.#subscription?.resume();
      return changes;
    } catch (error) {
      await changes[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** True if the last attempt to read the state failed. The state may be wrong until the next attempt succeeds. */
  get isStale(): boolean {
    return this.#isStale;
  }

  /** Leaves notifications in the kernel's queue until `resume`. */
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
        protocol: NETLINK.route,
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
   * Reads the parts of the state that were requested. Before a dump, queued notifications are processed. Notifications
   * that arrive during the dump stay in the kernel's queue because they are newer.
   * @returns false if a dump failed; the failure is counted and the part remains requested
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
      const question = { protocol: NETLINK.route, what: `${what} changes`, request };
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

  /** Receives until the socket is empty. After an overrun, the kernel drops all notifications until then. */
  #drain(): void {
    for (let batches = 0; batches < BATCHES_MAX; batches++) if (this.#subscription?.receive() !== false) return;
  }
}
