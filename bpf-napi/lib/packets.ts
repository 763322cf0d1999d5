import { guarded } from './errors.ts';
import { closed, watchForLeak } from './leaks.ts';
import { type NativePacketRing, native } from './native.ts';

export interface PacketRingOptions {
  /** Path of the network namespace; undefined for that of the thread. */
  readonly netns?: string | undefined;
  /** Size of the ring buffer in bytes, in steps of 1 MiB; at least 2 MiB. */
  readonly ringBytes: number;
  /** Milliseconds after which the kernel hands over packets although a block of 1 MiB is not full. */
  readonly retireMs: number;
  /** Program from `PacketFilter.kernelProgram` or `acceptAll()`. */
  readonly program: Uint8Array;
}

export interface PacketBatch {
  /** Bytes written. */
  readonly bytes: number;
  readonly packets: number;
  /** True if no packet is waiting. Otherwise the target is full, or has as many packets as it may have. */
  readonly empty: boolean;
}

export interface PacketCounts {
  /** Packets that passed the filter, including the dropped ones. */
  readonly received: number;
  /** Packets that the kernel could not store because the ring buffer was full. */
  readonly dropped: number;
}

/**
 * Receives copies of all packets of a network namespace through a ring buffer that is shared with the kernel (TPACKET_V3,
 * man 7 packet). A thread opens the socket in the namespace and ends; the calling thread stays where it is. Nothing is
 * left in the kernel when the process ends. Needs CAP_NET_RAW, and CAP_SYS_ADMIN for another namespace.
 */
export class PacketRing implements Disposable {
  readonly #native: NativePacketRing;

  /** @throws {BpfError} NETNS if the namespace cannot be entered, PACKETS */
  constructor({ netns = '', ringBytes, retireMs, program }: PacketRingOptions) {
    this.#native = guarded('PACKETS', () => new (native().PacketRing)(netns, ringBytes, retireMs, program));
    watchForLeak(this, this.#native, 'packet ring');
  }

  /**
   * Copies waiting packets as enhanced packet blocks of pcapng, with the link type COOKED_LINK_TYPE and times in
   * nanoseconds. Reads further packets of a full target in the next call.
   * @param interfaceOf returns the number of the interface block of a device, called once for each device
   * @throws {BpfError} PACKETS, BPF_CLOSED; errors of interfaceOf
   */
  read(target: Uint8Array, packetsMax: number, interfaceOf: (device: number) => number): PacketBatch {
    return guarded('PACKETS', () => this.#native.read(target, packetsMax, interfaceOf));
  }

  /** Returns the current name of a device; empty if the device is gone. */
  deviceName(device: number): string {
    return guarded('PACKETS', () => this.#native.deviceName(device));
  }

  counts(): PacketCounts {
    return guarded('PACKETS', () => this.#native.counts());
  }

  /** Ends the reception. The counts are final afterwards. Packets in the ring buffer can still be read. */
  stop(): void {
    guarded('PACKETS', () => this.#native.stop());
  }

  /** Calls a function in each turn of the event loop in which packets can be read. Does not keep the process alive. */
  watch(ready: () => void): void {
    guarded('PACKETS', () => this.#native.watch(ready));
  }

  unwatch(): void {
    guarded('PACKETS', () => this.#native.unwatch());
  }

  close(): void {
    closed(this);
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
