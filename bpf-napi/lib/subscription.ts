import { BpfError, guarded } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativeSubscription, native } from './native.ts';

export interface NetlinkSubscriptionOptions {
  /** Netlink protocol, for example 0 for NETLINK_ROUTE or 12 for NETLINK_NETFILTER. */
  readonly protocol: number;
  /** Numbers of multicast groups, starting with 1, for example RTNLGRP_LINK. */
  readonly groups: readonly number[];
  /**
   * Maximum number of bytes that the kernel queues for the socket, including its overhead per message. Limited to
   * net.core.rmem_max without CAP_NET_ADMIN.
   */
  readonly queueBytes: number;
  /** Size in bytes of the buffer that one receive call fills; at least `datagramBytesMax`. */
  readonly bufferBytes: number;
  /** Maximum size of a datagram in bytes. A longer datagram is treated as an overrun. */
  readonly datagramBytesMax: number;
  /** Called with messages as they arrive. The bytes are valid only during the call. */
  readonly onBatch: (batch: NetlinkBatch) => void;
  /** Called with errors thrown by onBatch and with errors of failed receive calls. Receiving continues afterwards. */
  readonly onError: (error: unknown) => void;
}

export interface NetlinkBatch {
  /** Consecutive messages with their headers, each aligned to four bytes. May be empty after an overrun. */
  readonly messages: Uint8Array;
  /**
   * True if messages were lost (ENOBUFS). They may have been sent before, between or after the messages in this batch.
   */
  readonly overrun: boolean;
  /**
   * True if the socket is empty. After an overrun, the kernel drops all messages until the socket is empty. A dump is
   * therefore complete only if it is requested after that.
   */
  readonly drained: boolean;
}

const EINVAL = 22;

/**
 * Receives the kernel's notifications in the network namespace in which the thread creates the subscription. Ignores
 * messages from other senders. Waits with epoll and uses no CPU while idle. Does not keep the process alive, and is
 * closed when its thread ends.
 */
export class NetlinkSubscription implements Disposable {
  // A static function, because closures that are created in the same method share their variables and would keep the
  // subscription alive.
  static readonly #waker = (weak: WeakRef<NetlinkSubscription>) => () => {
    const subscription = weak.deref();
    if (subscription !== undefined) subscription.#noticed();
  };

  readonly #native: NativeSubscription;
  readonly #options: NetlinkSubscriptionOptions;
  readonly #buffer: Uint8Array;
  #isWatching = false;

  /** @throws {BpfError} NETLINK (EPERM if a group requires CAP_NET_ADMIN) */
  constructor(options: NetlinkSubscriptionOptions) {
    const { protocol, groups, queueBytes, bufferBytes, datagramBytesMax } = options;
    if (bufferBytes < datagramBytesMax) {
      const message = `subscribe netlink: the buffer has ${bufferBytes} bytes but needs at least ${datagramBytesMax}`;
      throw new BpfError('NETLINK', message, { operation: 'subscribe', subject: 'netlink', errno: EINVAL });
    }
    this.#native = guarded(
      'NETLINK',
      () => new (native().Subscription)(protocol, Uint32Array.from(groups), queueBytes),
    );
    this.#options = options;
    this.#buffer = new Uint8Array(bufferBytes);
    watchForLeak(this, this.#native, 'netlink subscription');
    this.resume();
  }

  /**
   * Receives queued messages until the socket is empty or the buffer is full, and passes them to onBatch.
   * @returns whether the socket is empty
   * @throws {BpfError} NETLINK, BPF_CLOSED; errors of onBatch
   */
  receive(): boolean {
    const { datagramBytesMax, onBatch } = this.#options;
    const taken = guarded('NETLINK', () => this.#native.receive(this.#buffer, datagramBytesMax));
    const { bytes, overrun, empty } = taken;
    if (bytes > 0 || overrun) onBatch({ messages: this.#buffer.subarray(0, bytes), overrun, drained: empty });
    return empty;
  }

  /**
   * Sends a request to the kernel. Its answers arrive like notifications. Objects that the request creates can belong to
   * this socket, so that the kernel removes them when the socket is closed (NFT_TABLE_F_OWNER).
   * @throws {BpfError} NETLINK, BPF_CLOSED
   */
  send(request: Uint8Array): void {
    guarded('NETLINK', () => this.#native.send(request));
  }

  /** Leaves notifications in the kernel's queue until `resume`. A full queue causes an overrun. */
  pause(): void {
    guarded('NETLINK', () => this.#native.unwatch());
    this.#isWatching = false;
  }

  resume(): void {
    if (this.#isWatching) return;
    const wake = NetlinkSubscription.#waker(new WeakRef(this));
    guarded('NETLINK', () => this.#native.watch(wake));
    this.#isWatching = true;
  }

  close(): void {
    closed(this);
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #noticed(): void {
    try {
      this.receive();
    } catch (error) {
      this.#options.onError(error);
    }
  }
}
