import { release } from 'node:os';
import { COOKED_LINK_TYPE, clockOffset } from 'bpf-napi';
import { readVersion } from '#core/assets.ts';
import { visible } from '#core/inert.ts';
import { type Output, OutputFailure } from './output.ts';
import { ENHANCED_PACKET, interfaceDescription, interfaceStatistics, sectionHeader } from './pcapng.ts';

/** Size of the pseudo header that precedes each packet (LINKTYPE_LINUX_SLL2). */
export const COOKED_BYTES = 20;

/** Devices beyond this number share an interface block. */
const INTERFACES_MAX = 100;
/** Bytes that are kept free for the description and the statistics of each interface, and for the section header. */
const RESERVED_BYTES = 192 * 1024;

export interface Limits {
  /** Maximum size of the file in bytes. */
  readonly bytes: number;
  /** Maximum number of packets. */
  readonly packets: number;
}

/** Counts of a source of packets, as of its end. */
export interface SourceCounts {
  /** Packets that passed the filter, including dropped ones. */
  readonly received: number;
  readonly dropped: number;
}

interface Interface {
  readonly source: string;
  delivered: number;
}

/** A pcapng file in progress: the section header, and the interface blocks of the devices that were seen. */
export class CaptureFile {
  packets = 0;
  readonly #output: Output;
  readonly #limits: Limits;
  readonly #snap: number;
  readonly #filter: string | undefined;
  readonly #os = `Linux ${release()}`;
  readonly #interfaces: Interface[] = [];
  readonly #startNs = nowNs();
  /** Blocks of interfaces that are written before the next packets. */
  readonly #pending: Buffer[] = [];

  constructor(output: Output, limits: Limits, snap: number, filter: string | undefined) {
    this.#output = output;
    this.#limits = limits;
    this.#snap = snap;
    this.#filter = filter;
  }

  /** @param comment describes the capture */
  async begin(comment: string): Promise<void> {
    const application = `netsonde ${readVersion()}`;
    await this.#output.write(sectionHeader({ os: this.#os, application, comment }));
  }

  /** Bytes that packets may still take. */
  get room(): number {
    return Math.max(0, this.#limits.bytes - RESERVED_BYTES - this.#output.bytes);
  }

  /** Packets that may still be written. */
  get packetRoom(): number {
    return this.#limits.packets - this.packets;
  }

  /**
   * Returns the number of a new interface block.
   * @param place name of the Pod or namespace
   * @param source name of the source, if it has several places
   */
  addInterface(place: string, device: string, source = place): number {
    const number = this.#interfaces.length;
    if (number === INTERFACES_MAX) return number - 1;
    const name = number === INTERFACES_MAX - 1 ? 'other devices' : visible(device);
    this.#interfaces.push({ source, delivered: 0 });
    this.#pending.push(
      interfaceDescription({
        linkType: COOKED_LINK_TYPE,
        snap: this.#snap + COOKED_BYTES,
        name,
        description: visible(place),
        // The filter is the same for all, so it is not repeated.
        filter: number === 0 ? this.#filter : undefined,
        os: this.#os,
      }),
    );
    return number;
  }

  /**
   * Writes enhanced packet blocks, and counts the packets of each interface.
   * @throws {OutputFailure}
   */
  async write(blocks: Uint8Array, packets: number): Promise<void> {
    const pending = this.#pending;
    if (packets === 0 && pending.length === 0) return;
    const whole = pending.length === 0 ? blocks : Buffer.concat([...pending, blocks]);
    try {
      await this.#output.write(whole);
      this.#count(whole);
    } catch (error) {
      if (error instanceof OutputFailure) this.#count(whole.subarray(0, error.written));
      throw error;
    }
  }

  /** Counts the blocks that were written. */
  #count(blocks: Uint8Array): void {
    const view = new DataView(blocks.buffer, blocks.byteOffset, blocks.byteLength);
    for (let at = 0; at < blocks.length; at += view.getUint32(at + 4, true)) {
      if (view.getUint32(at, true) !== ENHANCED_PACKET) {
        this.#pending.shift();
        continue;
      }
      this.packets++;
      const counted = this.#interfaces[view.getUint32(at + 8, true)];
      if (counted !== undefined) counted.delivered++;
    }
  }

  /**
   * Writes the statistics of all interfaces. The kernel counts the packets of a source over all of its devices, so the first
   * interface of each source has the counts of all.
   * @throws {OutputFailure}
   */
  async end(sources: ReadonlyMap<string, SourceCounts>): Promise<void> {
    for (const source of sources.keys()) {
      if (!this.#interfaces.some((known) => known.source === source)) this.addInterface(source, 'any');
    }
    const endNs = nowNs();
    const told = new Set<string>();
    const statistics = this.#interfaces.map(({ source, delivered }, number) => {
      const isFirst = !told.has(source);
      told.add(source);
      const counts = isFirst ? sources.get(source) : undefined;
      const comment = `received and dropped are the counts of all interfaces of ${visible(source)}`;
      return interfaceStatistics({
        interface: number,
        startNs: this.#startNs,
        endNs,
        received: counts?.received,
        dropped: counts?.dropped,
        delivered,
        comment: isFirst ? comment : undefined,
      });
    });
    await this.#output.write(Buffer.concat([...this.#pending, ...statistics]));
  }
}

/** Returns the time of the wall clock, by the same offset as the times of events. */
function nowNs(): bigint {
  return clockOffset() + process.hrtime.bigint();
}
