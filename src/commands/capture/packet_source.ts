import { PacketRing } from 'bpf-napi';
import type { CaptureFile, SourceCounts } from './file.ts';
import type { Place } from './place.ts';
import type { Pumped, Source } from './source.ts';

/** Holds 150 ms of the traffic of 100,000 packets a second at a snap length of 1,000 bytes. */
const RING_BYTES = 16 * 1024 * 1024;
/** Maximum delay of a packet in milliseconds, which a user who watches notices. */
const RETIRE_MS = 40;
/** More than the longest packet takes. */
const BUFFER_BYTES = 2 * 1024 * 1024;
const LOOPBACK = 1;
const PACKETS_MAX = 2 ** 31;

/** All packets of a network namespace, in both directions. */
export class PacketSource implements Source {
  readonly name: string;
  readonly #ring: PacketRing;
  readonly #buffer = Buffer.allocUnsafe(BUFFER_BYTES);
  /** Devices other than the loopback device. */
  readonly #devices = new Set<number>();
  #read = 0;

  /** @throws {BpfError} if the namespace cannot be entered, or packets cannot be received */
  constructor({ name, path }: Place, program: Uint8Array) {
    this.name = name;
    this.#ring = new PacketRing({ netns: path, ringBytes: RING_BYTES, retireMs: RETIRE_MS, program });
  }

  async pump(file: CaptureFile): Promise<Pumped> {
    const { room, packetRoom } = file;
    const target = this.#buffer.subarray(0, room);
    const { bytes, packets, empty } = this.#ring.read(target, Math.min(packetRoom, PACKETS_MAX), (device) => {
      if (device !== LOOPBACK) this.#devices.add(device);
      return file.addInterface(this.name, this.#ring.deviceName(device) || `device ${device}`);
    });
    this.#read += packets;
    await file.write(target.subarray(0, bytes), packets);
    if (empty) return 'idle';
    return packets === 0 ? 'full' : 'more';
  }

  whenReady(ready: () => void): void {
    // An earlier wait may have ended for another reason.
    this.#ring.unwatch();
    this.#ring.watch(() => {
      this.#ring.unwatch();
      ready();
    });
  }

  stop(): void {
    this.#ring.unwatch();
    this.#ring.stop();
  }

  counts(): SourceCounts {
    return this.#ring.counts();
  }

  get isDrained(): boolean {
    const { received, dropped } = this.counts();
    return this.#read === received - dropped;
  }

  get isGone(): boolean {
    return this.#devices.size > 0 && [...this.#devices].every((device) => this.#ring.deviceName(device) === '');
  }

  [Symbol.dispose](): void {
    this.#ring.close();
  }
}
