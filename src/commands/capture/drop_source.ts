import { type BpfObject, BpfRing, clockOffset, type PacketFilter } from 'bpf-napi';
import { captureCounts, capturedDrop, FILE, type Layout } from '#bpf/generated/drop_capture.ts';
import { OBJECTS } from '#core/assets.ts';
import { visible } from '#core/inert.ts';
import type { NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { type HookTable, hook, openHooks } from '#probe/hooks.ts';
import { sumPerCpu } from '#probe/tally.ts';
import { dropConstants, RECEIVER_ARGUMENTS } from '#probes/packetloss/drop_constants.ts';
import { DropReasons } from '#probes/packetloss/drop_reasons.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { KernelSymbols } from '#sources/procfs/kallsyms.ts';
import { type DroppedPacket, decodeDropped } from './dropped.ts';
import { type CaptureFile, COOKED_BYTES, type SourceCounts } from './file.ts';
import type { KnownPolicies } from './known_policies.ts';
import { enhancedPacket } from './pcapng.ts';
import { netnsIdOf, type Place } from './place.ts';
import type { Pumped, Source } from './source.ts';

/** Milliseconds between two reads of the ring buffer, which holds the drops of at least 70 ms. */
const READ_MS = 20;
/** The ring is only read by calls. */
const NEVER_MS = 2 ** 31 - 1;
const BUFFER_BYTES = 1024 * 1024;

const UDP_FULL = hook('tp_btf/udp_fail_queue_rcv_skb', 2, 'capture_udp');
const LINEAR =
  'page fragments are missing, because this kernel does not let tracing programs read them (added in 6.12)';

const HOOKS: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    {
      what: 'dropped packets',
      choices: [
        { hooks: [hook('tp_btf/kfree_skb', RECEIVER_ARGUMENTS, 'capture_pages')] },
        { hooks: [hook('tp_btf/kfree_skb', RECEIVER_ARGUMENTS, 'capture_socket')], lacks: LINEAR },
        { hooks: [hook('tp_btf/kfree_skb', 3, 'capture_reason'), UDP_FULL], lacks: LINEAR },
        {
          hooks: [hook('tp_btf/kfree_skb', 2, 'capture_plain'), UDP_FULL],
          lacks: `${LINEAR}, and this kernel gives no reasons for drops (added in 5.17)`,
        },
      ],
    },
  ],
};

interface Chosen {
  readonly place: Place;
  readonly id: NetnsId;
}

/** The packets that the kernel loses in network namespaces: those that the metric `netsonde_packet_drops_total` counts. */
export class DropSource implements Source {
  readonly name: string;
  /** Limitation of this kernel, for users; empty if there is none. */
  readonly lacks: string;
  /** A namespace without devices can still lose packets. */
  readonly isGone = false;
  readonly #object: BpfObject;
  readonly #ring: BpfRing;
  readonly #reasons: DropReasons;
  readonly #symbols: KernelSymbols | undefined;
  readonly #filter: PacketFilter | undefined;
  readonly #policies: KnownPolicies;
  readonly #chosen: readonly Chosen[];
  readonly #interfaces = new Map<string, number>();
  /** Packets that wait for room in the file. */
  readonly #waiting: (DroppedPacket & { readonly place: Place; readonly timeNs: bigint })[] = [];
  #failure: unknown;
  #read = 0;
  #accepted = 0;

  private constructor(
    { object, lacks }: { object: BpfObject; lacks: string },
    bpf: BpfSource,
    reasons: DropReasons,
    chosen: readonly Chosen[],
    filter: PacketFilter | undefined,
    policies: KnownPolicies,
  ) {
    this.name = chosen.map(({ place }) => place.name).join(' and ');
    this.lacks = lacks;
    this.#object = object;
    this.#reasons = reasons;
    this.#symbols = bpf.hasHelper('snprintf') ? undefined : new KernelSymbols(DEFAULT_PATHS.proc);
    this.#chosen = chosen;
    this.#filter = filter;
    this.#policies = policies;
    this.#ring = new BpfRing(object, 'captured', {
      recordBytesMax: capturedDrop.SIZE,
      intervalMs: NEVER_MS,
      bufferBytes: BUFFER_BYTES,
      onBatch: ({ view, forEach }) => {
        const offset = clockOffset();
        forEach((at) => this.#take(view, at, offset));
      },
      onError: (error) => {
        this.#failure ??= error;
      },
    });
  }

  /**
   * Loads and attaches the programs.
   * @throws {Unsupported} if the kernel lacks a feature, or this process a capability
   * @throws {BpfError} if a namespace cannot be entered
   */
  static async open(
    places: readonly Place[],
    snap: number,
    filter: PacketFilter | undefined,
    policies: KnownPolicies,
  ): Promise<DropSource> {
    const bpf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys);
    bpf.check();
    const reasons = new DropReasons(bpf);
    const chosen = places.map((place) => ({ place, id: netnsIdOf(place) }));
    const ids = BigUint64Array.from([0, 1], (index) => BigInt(chosen[index]?.id ?? 0));
    const node = chosen.find(({ place }) => place.isNode)?.id;
    const { object, statuses } = await openHooks(bpf, HOOKS, {
      file: FILE,
      constants: {
        ...dropConstants(bpf, reasons, []),
        node_netns: node ?? 0,
        chosen: new Uint8Array(ids.buffer),
        snap,
      },
      // The programs use headers whose events they do not send.
      without: ['owners', 'event_ledgers', 'event_buckets', 'events'],
    });
    const lacks = statuses.map(({ reason }) => reason).join('; ');
    return new DropSource({ object, lacks }, bpf, reasons, chosen, filter, policies);
  }

  async pump(file: CaptureFile): Promise<Pumped> {
    if (this.#waiting.length === 0) {
      const bytes = this.#ring.drain();
      if (this.#failure !== undefined) throw this.#failure;
      if (bytes === 0) return 'idle';
    }
    let { room } = file;
    const blocks: Buffer[] = [];
    for (const packet of this.#waiting) {
      if (blocks.length === file.packetRoom) break;
      const block = enhancedPacket({ ...packet, interface: this.#interfaceOf(file, packet.place, packet.device) });
      if (block.length > room) break;
      room -= block.length;
      blocks.push(block);
    }
    const isFull = blocks.length < this.#waiting.length;
    this.#waiting.splice(0, blocks.length);
    await file.write(Buffer.concat(blocks), blocks.length);
    return isFull ? 'full' : 'more';
  }

  whenReady(ready: () => void): void {
    setTimeout(ready, READ_MS);
  }

  stop(): void {
    this.#object.detach();
  }

  /** Packets that the filter has not seen, because they were lost or not read, count as received. */
  counts(): SourceCounts {
    const { sent, lost } = this.#counts();
    return { received: this.#accepted + (sent - this.#read) + lost, dropped: lost };
  }

  get isDrained(): boolean {
    return this.#waiting.length === 0 && this.#read === this.#counts().sent;
  }

  #take(view: DataView, at: number, offset: bigint): void {
    this.#read++;
    const id = capturedDrop.netns(view, at);
    const place = this.#chosen.find((chosen) => chosen.id === id)?.place;
    if (place === undefined) return;
    const dropped = decodeDropped(view, at, place.name, { reasons: this.#reasons, symbols: this.#symbols });
    if (this.#filter?.matches(dropped.bytes, dropped.length) === false) return;
    this.#accepted++;
    const policy = this.#policies.of(id, capturedDrop.ethertype(view, at), dropped.bytes.subarray(COOKED_BYTES));
    const comment = policy === undefined ? dropped.comment : `${dropped.comment}, ${visible(policy)}`;
    this.#waiting.push({ ...dropped, comment, place, timeNs: BigInt(capturedDrop.time(view, at)) + offset });
  }

  #interfaceOf(file: CaptureFile, { name }: Place, device: string): number {
    const key = `${name}\0${device}`;
    const known = this.#interfaces.get(key);
    if (known !== undefined) return known;
    const number = file.addInterface(name, device || 'no device', this.name);
    this.#interfaces.set(key, number);
    return number;
  }

  #counts(): { readonly sent: number; readonly lost: number } {
    const { sent, lost } = sumPerCpu(this.#object, 'capture_count', captureCounts);
    return { sent: Number(sent), lost: Number(lost) };
  }

  [Symbol.dispose](): void {
    this.#ring.close();
    this.#object.close();
  }
}
