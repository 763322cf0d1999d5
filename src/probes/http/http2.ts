import { randomBytes } from 'node:crypto';
import type { BpfObject } from 'bpf-napi';
import { httpLineForm } from '#bpf/generated/common.ts';
import { FILE, grpcNameKey, http2Text, type Layout } from '#bpf/generated/http2.ts';
import { bytesOf } from '#bpf/layout.ts';
import { Unsupported } from '#core/reader.ts';
import { openBeside } from '#probe/beside.ts';
import type { ProbeScope } from '#probe/contract.ts';
import type { EbpfInstance } from '#probe/ebpf.ts';
import { type HookTable, hook } from '#probe/hooks.ts';
import type { L7User } from '#probe/l7_use.ts';
import { SLOTS } from '#probe/owners.ts';
import { defineRetained } from '#probe/retained.ts';
import { decodeHuffman } from '#sources/l7/huffman.ts';
import type { Sources } from '#sources/sources.ts';

const PROGRAMS = {
  sent: 'http2_sent',
  received: 'http2_received',
} as const;

const PARSER: HookTable<Layout['program']> = {
  file: FILE,
  points: [
    { what: 'ended connections', choices: [{ hooks: [hook('tp_btf/inet_sock_set_state', 3, 'http2_closed')] }] },
  ],
  later: Object.values(PROGRAMS),
};

/** Number of streams that are followed at the same time, and the part of it that one owner may use. */
const STREAMS_MAX = 32_768;
const OWNER_STREAMS = STREAMS_MAX / 4;
const NAMES_MAX = 16_384;

/** Maps, constants and settings of the parser of HTTP/1.x. Reports of both parsers have the same ring and the same limits. */
const SAME_MAPS = [
  ...(['http_rows', 'rows_taken', 'rows_returned', 'owners', 'misses', 'filtered_netns'] as const),
  ...(['events', 'event_ledgers', 'event_buckets', 'http_record_ledgers', 'http_record_buckets'] as const),
  ...(['http_connections', 'http_recent', 'http_exemplars', 'http_exemplars_taken'] as const),
] satisfies readonly Layout['map'][];
const SAME_CONSTANTS = [
  ...(['filters_pods', 'owner_rows', 'unlisted_rows', 'keeps_traces', 'keeps_exemplars'] as const),
  ...(['events_enabled', 'event_rate', 'jiffies_per_second', 'ring_share', 'slow_nanoseconds'] as const),
  ...(['reports_events', 'reports_records', 'record_failed', 'record_nanoseconds'] as const),
  ...(['record_sample', 'record_rate'] as const),
] satisfies readonly (Layout['constant'] | Layout['setting'])[];

/** Random, so that no Pod can choose paths with the same hash. Hashes outlive the runs of the probe. */
const SEED = randomBytes(8).readBigUInt64LE();

/** Methods of gRPC by hash. */
export const GRPC_METHODS = defineRetained<Map<number, string>>(() => new Map());

export interface Http2 {
  /** Reason why HTTP/2 is not read. */
  readonly degraded: readonly string[];
  readonly instance: EbpfInstance | undefined;
  /** Adds the names of methods that are new. To be called after the rows were read. */
  read(): void;
}

/** Adds the parser of HTTP/2 to the probe. HTTP/1.x is also read if that is not possible. */
export async function openHttp2(
  scope: ProbeScope<Record<string, never>>,
  { bpf }: Sources,
  user: L7User,
  first: EbpfInstance,
): Promise<Http2> {
  const names = scope.retained(GRPC_METHODS).value;
  try {
    const instance = await openBeside<Layout>(bpf, scope.paths.proc, first, {
      hooks: PARSER,
      same: SAME_MAPS,
      sameConstants: SAME_CONSTANTS,
      shared: user.maps,
      constants: { path_seed: SEED, owner_streams: bpf.allocatesOnDemand() ? OWNER_STREAMS : 1024 },
      onDemand: { http2_streams: STREAMS_MAX, grpc_names: NAMES_MAX },
      helpers: ['loop'],
    });
    const object = scope.own(instance.object);
    const read = () => readNames(object, names);
    scope.own({ [Symbol.dispose]: read });
    scope.own(
      scope.owners.follow({
        listed: () => undefined,
        unlisted: () => undefined,
        freed: (slot) => forgetNames(object, slot),
      }),
    );
    user.plug(object, { http2: PROGRAMS });
    return { degraded: [], instance, read };
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    return { degraded: [`HTTP/2: ${error.message}`], instance: undefined, read: () => undefined };
  }
}

/** Adds the methods in the kernel that are not known yet. */
function readNames(object: BpfObject, names: Map<number, string>): void {
  const { count, view, keyAt, valueAt } = object.map('grpc_names').dump();
  for (let index = 0; index < count; index++) {
    const name = grpcNameKey.name(view, keyAt(index));
    if (names.has(name)) continue;
    const at = valueAt(index);
    // The program has not written the text yet.
    if (http2Text.length(view, at) === 0) continue;
    const bytes = http2Text.bytes(view, at).subarray(0, http2Text.length(view, at));
    const text =
      http2Text.form(view, at) === httpLineForm.huffman ? decodeHuffman(bytes) : Buffer.from(bytes).toString('latin1');
    if (text !== undefined) names.set(name, text);
  }
}

/** Deletes the methods of a slot that is about to get another owner. */
function forgetNames(object: BpfObject, slot: number): void {
  if (slot >= SLOTS) return;
  const map = object.map('grpc_names');
  const { count, view, keyAt } = map.dump();
  for (let index = 0; index < count; index++) {
    const at = keyAt(index);
    if (grpcNameKey.owner(view, at) === slot) map.delete(new Uint8Array(view.buffer.slice(at, at + grpcNameKey.SIZE)));
  }
  object.map('grpc_named').update(bytesOf(slot), bytesOf(0));
}
