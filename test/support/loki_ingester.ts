import {
  Bucket,
  blocked,
  entrySize,
  faultOfEntry,
  faultOfLabels,
  grouped,
  ignored,
  type LokiLimits,
  type Rate,
  type Reply,
  rateLimited,
  streamName,
  streamRate,
  tooFarBehind,
  tooManyStreams,
} from './loki_limits.ts';
import type { LokiEntry } from './loki_server.ts';

interface Store {
  /** Returns the reason to refuse an entry that is within the limits, or undefined to accept it. */
  readonly refuse: (entry: LokiEntry) => string | undefined;
  readonly take: (entry: LokiEntry) => void;
}

type Entries = readonly LokiEntry[];

const TAKEN: Reply = { status: 204, text: '' };

/**
 * Handles the streams of a push in the same way as Loki. The distributor drops invalid entries
 * (pkg/distributor/distributor.go, `PushWithResolver`). The ingester then handles the streams one after the other, and
 * returns the error of the last stream (pkg/ingester/instance.go, `Push`).
 */
export class Ingester {
  #limits: LokiLimits = {};
  #ingestion: Bucket | undefined;
  readonly #streams = new Map<string, { readonly bucket: Bucket | undefined; newest: bigint }>();

  get limits(): LokiLimits {
    return this.#limits;
  }

  set limits(limits: LokiLimits) {
    this.#limits = limits;
    this.#ingestion = limits.ingestion && new Bucket(limits.ingestion);
    this.#streams.clear();
  }

  push(tenant: string, streams: readonly Entries[], store: Store): Reply {
    const faults: string[] = [];
    let block: Reply | undefined;
    const valid = streams.map((entries) => {
      const labels = entries[0]?.labels ?? {};
      const fault = faultOfLabels(labels, this.#limits);
      if (fault !== undefined) faults.push(fault);
      const { blocked: blocking } = this.#limits;
      const isBlocked = blocking !== undefined && (blocking.of?.(labels) ?? true);
      if (isBlocked && blocking.status !== 200) block = blocked(tenant, blocking.status);
      return fault !== undefined || isBlocked ? [] : entries.filter((entry) => this.#isValid(entry, faults, store));
    });
    const refused = faults.length > 0 ? { status: 400, text: grouped(faults) } : undefined;
    const left = valid.filter(({ length }) => length > 0);
    const bytes = left.flat().reduce((sum, entry) => sum + entrySize(entry), 0);
    if (left.length === 0) return refused ?? block ?? TAKEN;
    const { ingestion } = this.#limits;
    if (ingestion !== undefined && this.#ingestion?.allows(bytes) === false) {
      return rateLimited(tenant, ingestion.rate, left.flat().length, bytes);
    }
    const last = left.map((entries) => this.#ingest(tenant, entries, store)).at(-1);
    return last ?? refused ?? block ?? TAKEN;
  }

  #isValid(entry: LokiEntry, faults: string[], { refuse }: Store): boolean {
    const fault = faultOfEntry(entry, this.#limits) ?? refuse(entry);
    if (fault !== undefined) faults.push(fault);
    return fault === undefined;
  }

  /**
   * Stores the entries of a stream. Returns an error if any of them were refused (pkg/ingester/stream.go,
   * `validateEntries`).
   */
  #ingest(tenant: string, entries: Entries, { take }: Store): Reply | undefined {
    const labels = entries[0]?.labels ?? {};
    const name = streamName(labels);
    const { maxStreams, perStream, maxChunkAge } = this.#limits;
    if (!this.#streams.has(name) && this.#streams.size >= (maxStreams ?? Number.POSITIVE_INFINITY)) {
      return tooManyStreams(tenant, labels);
    }
    const isLimited = perStream !== undefined && (perStream.of?.(labels) ?? true);
    const stream = this.#streams.get(name) ?? { bucket: isLimited ? new Bucket(perStream) : undefined, newest: 0n };
    this.#streams.set(name, stream);
    const failed = entries.flatMap((entry) => {
      const why = faultOf(entry, stream, perStream, maxChunkAge);
      if (why === undefined) {
        take(entry);
        if (BigInt(entry.time) > stream.newest) stream.newest = BigInt(entry.time);
      }
      return why === undefined ? [] : [{ entry, ...why }];
    });
    return failed.length === 0 ? undefined : ignored(tenant, labels, failed, entries.length);
  }
}

function faultOf(
  entry: LokiEntry,
  { bucket, newest }: { readonly bucket: Bucket | undefined; readonly newest: bigint },
  perStream: Rate | undefined,
  maxChunkAge: number | undefined,
): { readonly why: string; readonly status: number } | undefined {
  const bytes = entrySize(entry);
  if (perStream !== undefined && bucket?.allows(bytes) === false) {
    return { why: streamRate(entry.labels, perStream, bytes), status: 429 };
  }
  const cutoff = newest - BigInt(maxChunkAge ?? 0) / 2n;
  if (maxChunkAge === undefined || BigInt(entry.time) >= cutoff) return undefined;
  return { why: tooFarBehind(entry.time, String(cutoff)), status: 400 };
}
