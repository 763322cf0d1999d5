import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { blockOperation } from '#bpf/generated/biolatency.ts';
import { COUNTS_MAX } from '#probe/counts.ts';
import { FILTERED_UNLISTED_MAX } from '#probe/listed.ts';
import { LISTED_MAX, SLOTS } from '#probe/owners.ts';
import { NAMESPACES_MAX } from '#probe/room.ts';
import { LISTENERS_MAX } from '#sources/sockets/listeners.ts';
import { PORTS_A_ROW, TCP_ROWS_MAX } from '#sources/sockets/tcp_walk.ts';
import { mapsOf, readCompiledObject } from './bpf_layouts.ts';
import { table } from './markdown.ts';

/** Computes the maximum memory of each BPF map, based on the compiled objects. */

const OBJECTS = fileURLToPath(new URL('../dist/bpf', import.meta.url));

/** Values of enum bpf_map_type in include/uapi/linux/bpf.h. */
const TYPE = { hash: 1, array: 2, percpuHash: 5, percpuArray: 6, lruHash: 9, lruPercpuHash: 10, ring: 27 } as const;
const PER_CPU: readonly number[] = [TYPE.percpuHash, TYPE.percpuArray, TYPE.lruPercpuHash];
const HASHES: readonly number[] = [TYPE.hash, TYPE.percpuHash, TYPE.lruHash, TYPE.lruPercpuHash];
/** Sizes in kernel/bpf/hashtab.c: struct htab_elem without its key, and struct bucket. */
const ELEMENT_BYTES = 48;
const BUCKET_BYTES = 16;
const POINTER_BYTES = 8;

/** Number of entries that the agent requests for maps whose size in the object file is smaller. */
const ENTRIES: Readonly<Record<string, (cpus: number) => number>> = {
  counts: () => COUNTS_MAX,
  kernel_histograms: () => NAMESPACES_MAX + SLOTS,
  socket_histograms: () => NAMESPACES_MAX + SLOTS,
  transmit_histograms: () => NAMESPACES_MAX + SLOTS,
  block_histograms: () => NAMESPACES_MAX + Object.keys(blockOperation).length * SLOTS,
  owners: () => LISTED_MAX,
  filtered_netns: () => LISTED_MAX + FILTERED_UNLISTED_MAX,
  percpu_cpus: (cpus) => cpus,
  tcp_rows: () => TCP_ROWS_MAX,
  tcp_accept_queues: () => TCP_ROWS_MAX * PORTS_A_ROW,
  tcp_listeners: () => LISTENERS_MAX,
};

export interface MapSize {
  readonly object: string;
  readonly map: string;
  readonly isPerCpu: boolean;
  readonly entries: number;
  /** Size in bytes of an entry on all CPUs, including the kernel's header. */
  readonly entryBytes: number;
  readonly bytes: number;
}

function eight(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

/** Objects that the agent does not load, but a command. */
const OF_COMMANDS: readonly string[] = ['drop_capture.bpf.o'];

/**
 * Returns the size in bytes of each map of the agent when it is full.
 * @param cpus number of possible CPUs
 */
export function mapSizes(cpus: number): MapSize[] {
  const files = readdirSync(OBJECTS).filter((name) => name.endsWith('.bpf.o') && !OF_COMMANDS.includes(name));
  return files.flatMap((file) =>
    mapsOf(readCompiledObject(file, readFileSync(join(OBJECTS, file))).btf).flatMap((map) => {
      // Socket storage is allocated together with each socket, so the map itself has no size.
      if (map.maxEntries === undefined) return [];
      const { name, type, keyBytes, valueBytes } = map;
      const entries = ENTRIES[name]?.(cpus) ?? map.maxEntries;
      const isPerCpu = PER_CPU.includes(type);
      const values = eight(valueBytes) * (isPerCpu ? cpus : 1);
      const isHash = HASHES.includes(type);
      const own = isHash ? ELEMENT_BYTES + eight(keyBytes) + (isPerCpu ? POINTER_BYTES : 0) : 0;
      const entryBytes = type === TYPE.ring ? 1 : own + values;
      const buckets = isHash ? BUCKET_BYTES * 2 ** Math.ceil(Math.log2(entries)) : 0;
      const bytes = entries * entryBytes + buckets;
      return [{ object: file.replace('.bpf.o', ''), map: name, isPerCpu, entries, entryBytes, bytes }];
    }),
  );
}

const PODS = 110;
const CPUS = [2, 256] as const;
const MB = 1e6;
/** Minimum size in bytes of a map that gets a row of its own. Smaller maps are included only in the sum. */
const SHOWN_BYTES = 0.5 * MB;
/** Maps with one entry per Pod. */
const OF_PODS: readonly string[] = ['kernel_histograms', 'socket_histograms', 'transmit_histograms'];

function mb(bytes: number): string {
  const amount = bytes / MB;
  return `${amount < 10 ? amount.toPrecision(2) : Math.round(amount)} MB`;
}

/** Table of map sizes for docs/scale.md. */
export const MAP_TABLES: Readonly<Record<string, string>> = {
  'map sizes': (() => {
    const [few, many] = CPUS.map(mapSizes) as [MapSize[], MapSize[]];
    const rows = many.flatMap(({ object, map, bytes, entryBytes, entries, isPerCpu }, index) => {
      if (bytes < SHOWN_BYTES) return [];
      const ofPods = OF_PODS.includes(map) ? mb(PODS * entryBytes) : '';
      const before = mb(few[index]?.bytes ?? 0);
      return [[`\`${object}\``, `\`${map}\``, isPerCpu ? 'yes' : '', String(entries), ofPods, before, mb(bytes)]];
    });
    const sum = (sizes: readonly MapSize[]) => mb(sizes.reduce((total, { bytes }) => total + bytes, 0));
    return table(
      [
        'object',
        'map',
        'per CPU',
        'maximum entries',
        `size with ${PODS} Pods`,
        ...CPUS.map((cpus) => `size when full, ${cpus} CPUs`),
      ],
      [...rows, ['__all maps of all objects__', '', '', '', '', sum(few), sum(many)]],
    );
  })(),
};
