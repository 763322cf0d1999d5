import { BpfError, guarded } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativeSubscription, native } from './native.ts';

export interface NetlinkSubscriptionOptions {
  /** NETLINK_ROUTE 0, NETLINK_NETFILTER 12. */
  readonly protocol: number;
  /** Numbers of multicast groups, from 1: RTNLGRP_LINK, … */
  readonly groups: readonly number[];
  /**
   * Bytes that the kernel may queue for the socket, including its own overhead for each message. Without CAP_NET_ADMIN
   * net.core.rmem_max is the maximum.
   */
  readonly queueBytes: number;
  /** Bytes of the buffer that a receive fills; at least `datagramBytesMax`. */
  readonly bufferBytes: number;
  /** Bytes of the longest datagram; a longer one is an overrun. */
  readonly datagramBytesMax: number;
  /** Receives messages as they arrive. The bytes are valid until it returns. */
  readonly onBatch: (batch: NetlinkBatch) => void;
  /** Receives the errors that onBatch throws, and those of a failed receive. Receiving goes on. */
  readonly onError: (error: unknown) => void;
}

export interface NetlinkBatch {
  /** The messages one after the other, each with its header, aligned to four bytes. May be empty after an overrun. */
  readonly messages: Uint8Array;
  /** Whether messages were lost (ENOBUFS), before, between or after those of this batch. */
  readonly overrun: boolean;
  /**
   * Whether the socket is empty. After an overrun the kernel drops further messages until then, so a dump is complete only
   * if it was requested later.
   */
  readonly drained: boolean;
}

const EINVAL = 22;

/**
 * Receives notifications of the kernel in the network namespace that this thread is in when the subscription is made.
 * Messages of other senders are ignored. It waits by epoll, so an idle one takes no CPU. It does not keep the process alive,
 * and ends with its thread.
 */
export class NetlinkSubscription implements Disposable {
  // Static, because closures made in one method share their variables, and so would keep the subscription alive.
  static readonly #waker = (weak: WeakRef<NetlinkSubscription>) => () => {
    const subscription = weak.deref();
    if (subscription !== undefined) subscription.#noticed();
  };

  readonly #native: NativeSubscription;
  readonly #options: NetlinkSubscriptionOptions;
  readonly #buffer: Uint8Array;
  #isWatching = false;

  /** @throws {BpfError} NETLINK, with the errno: EPERM if a group needs CAP_NET_ADMIN */
  constructor(options: NetlinkSubscriptionOptions) {
    const { protocol, groups, queueBytes, bufferBytes, datagramBytesMax } = options;
    if (bufferBytes < datagramBytesMax) {
      const message = `subscribe netlink: a buffer of ${bufferBytes} bytes, at least ${datagramBytesMax} are needed`;
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
   * Receives waiting messages, at most one buffer of them, and hands them to onBatch.
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

  /** Leaves notifications in the kernel until `resume`; a full queue is an overrun. */
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
