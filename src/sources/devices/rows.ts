import { netdevCounter, netdevIs, netdevRow } from '#bpf/generated/netdev.ts';
import type { Counter } from '#core/counter.ts';
import { deviceName } from '#core/device_name.ts';
import type { NetnsId } from '#core/netns.ts';
import type { DeviceColumn } from '../procfs/net_dev.ts';

const { SIZE, offsets } = netdevRow;
const NAME_BYTES = 16;
const ROWS_FIRST = 256;
const ASCII_END = 0x80;

const PLACES: Readonly<Record<DeviceColumn, number>> = {
  receivedBytes: netdevCounter.rx_bytes,
  receivedPackets: netdevCounter.rx_packets,
  receivedErrors: netdevCounter.rx_errors,
  receivedDrops: netdevCounter.rx_drops,
  receivedFifo: netdevCounter.rx_fifo,
  receivedFrame: netdevCounter.rx_frame,
  receivedMulticast: netdevCounter.rx_multicast,
  sentBytes: netdevCounter.tx_bytes,
  sentPackets: netdevCounter.tx_packets,
  sentErrors: netdevCounter.tx_errors,
  sentDrops: netdevCounter.tx_drops,
  sentFifo: netdevCounter.tx_fifo,
  collisions: netdevCounter.collisions,
  sentCarrier: netdevCounter.tx_carrier,
};

const NONE: readonly number[] = [];

/** Devices found by one walk. Valid until the next walk. */
export class DeviceRows {
  /** Reasons why devices could not be read although the walk supports their kind, by kind. */
  readonly refused = new Map<string, string>();
  readonly #byNetns = new Map<NetnsId, number[]>();
  #count = 0;
  #bytes = new Uint8Array(ROWS_FIRST * SIZE);
  #view = new DataView(this.#bytes.buffer);

  clear(): void {
    this.#byNetns.clear();
    this.#count = 0;
  }

  /**
   * @param row a struct netdev_row
   */
  add(row: Uint8Array, id: NetnsId): void {
    if ((this.#count + 1) * SIZE > this.#bytes.length) {
      const longer = new Uint8Array(this.#bytes.length * 2);
      longer.set(this.#bytes);
      this.#bytes = longer;
      this.#view = new DataView(longer.buffer);
    }
    this.#bytes.set(row, this.#count * SIZE);
    const rows = this.#byNetns.get(id);
    if (rows === undefined) this.#byNetns.set(id, [this.#count]);
    else rows.push(this.#count);
    this.#count++;
  }

  /** Number of rows in all namespaces. Rows are numbered from 0. */
  get count(): number {
    return this.#count;
  }

  /** Returns the row numbers of a namespace's devices; empty if the walk did not visit the namespace. */
  of(id: NetnsId): readonly number[] {
    return this.#byNetns.get(id) ?? NONE;
  }

  ifindex(row: number): number {
    return netdevRow.ifindex(this.#view, row * SIZE);
  }

  /** Returns the name in the same format as files and netlink; see `deviceName`. */
  name(row: number): string {
    const start = row * SIZE + offsets.name;
    let name = '';
    for (let at = start; at < start + NAME_BYTES; at++) {
      const byte = this.#bytes[at] ?? 0;
      if (byte === 0) break;
      if (byte >= ASCII_END) return this.#anyName(row);
      name += String.fromCharCode(byte);
    }
    return name;
  }

  #anyName(row: number): string {
    const bytes = netdevRow.name(this.#view, row * SIZE);
    const end = bytes.indexOf(0);
    return deviceName(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** Returns the kind of a software device as named by rtnetlink; empty for `lo` and all other devices. */
  kind(row: number): string {
    return netdevRow.kind(this.#view, row * SIZE);
  }

  isLoopback(row: number): boolean {
    return this.#is(row, netdevIs.loopback);
  }

  /** Returns whether the device is physical or paravirtual. */
  isPhysical(row: number): boolean {
    return this.#bytes[row * SIZE + offsets.kind] === 0 && !this.isLoopback(row);
  }

  /** Returns whether the walk could read the counters. If not, they must be queried through netlink. */
  isCounted(row: number): boolean {
    return this.#is(row, netdevIs.counted);
  }

  /**
   * Returns whether the device is linked to a device in another namespace; undefined if the walk cannot determine this.
   */
  isLinkedOutside(row: number): boolean | undefined {
    if (this.#is(row, netdevIs.link_unknown)) return undefined;
    return this.#is(row, netdevIs.linked_outside);
  }

  /** Returns a counter. Valid only if `isCounted(row)` is true. */
  value(row: number, column: DeviceColumn): Counter {
    return netdevRow.counters(this.#view, row * SIZE, PLACES[column]);
  }

  /** Returns the kinds of software devices that the walk could not read. */
  kindsNotCounted(): Set<string> {
    const kinds = new Set<string>();
    for (let row = 0; row < this.#count; row++) {
      if (!this.isCounted(row) && !this.isPhysical(row)) kinds.add(this.kind(row));
    }
    return kinds;
  }

  /** Returns a string that contains all counters that were read, for comparison with another walk. */
  digest(): string {
    let all = '';
    for (let row = 0; row < this.#count; row++) {
      const at = row * SIZE;
      if (this.isCounted(row)) all += `${this.#bytes.subarray(at + offsets.counters, at + SIZE).join()};`;
    }
    return all;
  }

  #is(row: number, bit: number): boolean {
    return (netdevRow.is(this.#view, row * SIZE) & bit) !== 0;
  }
}
