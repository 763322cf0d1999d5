import { join } from 'node:path';
import type { NetnsId } from '#core/netns.ts';
import { Unsupported } from '#core/reader.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, type Emit, NO_LABELS } from '#probe/metric.ts';
import { ProcessReader } from '#probe/process_reader.ts';
import { defineRetained } from '#probe/retained.ts';
import type { Malformed } from '#sources/errors.ts';
import { parseProcessIo } from '#sources/procfs/io.ts';
import { readPidNamespace } from '#sources/procfs/pid_namespace.ts';
import { readText } from '#sources/procfs/read.ts';
import { type ProcessStat, parseStat } from '#sources/procfs/stat.ts';
import { type IoCounts, IoTotals, type ProcessReading, type Readings } from './io_totals.ts';

// These metrics are per process and not per network namespace. The processes of a Pod are those in its cgroups
// (src/pods/process_groups.ts), regardless of their network namespaces. All other processes belong to the node or to
// hostNetwork Pods, which share the node's network namespace, and are not read. If a process ends and no process of its
// Pod waits for it, its I/O since the last scrape is lost. Its earlier I/O remains in the totals (io_totals.ts).

const counter = { type: 'counter', scope: 'pod', labels: {} } as const;

const metrics = defineMetrics({
  readSyscalls: {
    ...counter,
    name: 'netsonde_io_read_syscalls_total',
    help: 'Calls of read and its variants by processes of the Pod, on files, pipes and sockets. Not measured for the node itself.',
    source: '/proc/<pid>/io syscr',
    detail: 'full',
  },
  writeSyscalls: {
    ...counter,
    name: 'netsonde_io_write_syscalls_total',
    help: 'Calls of write and its variants by processes of the Pod, on files, pipes and sockets. Not measured for the node itself.',
    source: '/proc/<pid>/io syscw',
    detail: 'full',
  },
  readBytes: {
    ...counter,
    name: 'netsonde_io_read_bytes_total',
    unit: 'bytes',
    help: 'Bytes that the processes of the Pod read from storage. I/O between the last scrape and the exit of a process is missing if no process of its Pod reaps it. Not measured for the node itself.',
    source: '/proc/<pid>/io read_bytes',
    detail: 'core',
  },
  writtenBytes: {
    ...counter,
    name: 'netsonde_io_written_bytes_total',
    unit: 'bytes',
    help: 'Bytes that the processes of the Pod wrote to storage. I/O between the last scrape and the exit of a process is missing if no process of its Pod reaps it. Not measured for the node itself.',
    source: '/proc/<pid>/io write_bytes',
    detail: 'core',
  },
});

/** Fields of /proc/<pid>/io in the order of the counts. */
const FIELDS = [
  ['readSyscalls', 'syscr'],
  ['writeSyscalls', 'syscw'],
  ['readBytes', 'read_bytes'],
  ['writtenBytes', 'write_bytes'],
] as const;

/**
 * Maximum number of attempts to read a group while its processes are ending. If all attempts fail, the totals do not
 * change until the next scrape.
 */
const PASSES_MAX = 4;
/** States of a process that has exited but has not been reaped. Its counters can still be read. */
const ENDED = /[ZX]/;

/** State of a group that is kept while the probe is disabled. */
interface Kept {
  readonly totals: IoTotals;
  readonly netns: readonly NetnsId[];
}

/** State of the groups by key. */
const KEPT = defineRetained(() => new Map<string, Kept>());

/** Reads process groups in one collection. */
class GroupReader {
  readonly #proc: string;
  readonly #reader: ProcessReader;
  readonly #ownPidNamespace: string;

  constructor(proc: string, reader: ProcessReader) {
    this.#proc = proc;
    this.#reader = reader;
    this.#ownPidNamespace = readPidNamespace(join(proc, 'self'));
  }

  /** Updates the totals of a group. Returns false if a process of the group could not be read. */
  async update(totals: IoTotals, pids: readonly number[]): Promise<boolean> {
    let gone = 0;
    for (let pass = 0; pass < PASSES_MAX; pass++) {
      const now = await this.#readAll(pids, totals.members);
      if (now === undefined) return false;
      const goneNow = totals.gone(now).length;
      // If a process has ended since the last attempt, it is unknown whether the counters that were read from its
      // parent include those of the process.
      if (goneNow === gone) {
        totals.update(now);
        return true;
      }
      gone = goneNow;
    }
    return true;
  }

  /**
   * Reads the listed processes, and earlier members that still exist, in order of age, oldest first. Returns undefined
   * if any of them cannot be read.
   */
  async #readAll(pids: readonly number[], members: Readings): Promise<Readings | undefined> {
    const listed = new Set(pids);
    const all = new Set([...pids, ...members.keys()]);
    const processes = await this.#reader.all('stat', all, (pid) => {
      const stat = readStat(this.#proc, pid);
      return stat && { pid, stat };
    });
    processes?.sort((a, b) => a.stat.startTime - b.stat.startTime || a.pid - b.pid);
    const readings = await this.#reader.all('io', processes ?? [], ({ pid, stat }) => {
      const member = members.get(pid);
      const earlier = member?.startTime === stat.startTime ? member : undefined;
      const isHere = listed.has(pid) || (earlier !== undefined && ENDED.test(stat.state));
      // If a process has moved to another owner, its I/O up to the last reading remains in the totals of this group.
      return isHere ? this.#read(pid, stat, earlier) : earlier;
    });
    return processes && readings && new Map(readings.map((reading) => [reading.pid, reading]));
  }

  #read(pid: number, stat: ProcessStat, earlier: ProcessReading | undefined): ProcessReading | undefined {
    const io = readCounts(this.#proc, pid, this.#reader.malformed('io'));
    const pidNamespace = earlier?.pidNamespace ?? readPidNamespace(join(this.#proc, String(pid)));
    return io && { ...stat, pid, pidNamespace: pidNamespace === this.#ownPidNamespace ? '' : pidNamespace, io };
  }
}

/** Reads /proc/<pid>/stat. Returns undefined if the process has exited. @throws if it cannot be read */
function readStat(proc: string, pid: number): ProcessStat | undefined {
  const path = join(proc, String(pid), 'stat');
  const text = readText(path);
  const stat = text === undefined ? undefined : parseStat(text);
  if (text !== undefined && stat === undefined) throw new Error(`${path} is malformed`);
  return stat;
}

/** Reads /proc/<pid>/io. Returns undefined if the process has exited. @throws if it cannot be read */
function readCounts(proc: string, pid: number, malformed: Malformed): IoCounts | undefined {
  const path = join(proc, String(pid), 'io');
  const text = readText(path);
  if (text === undefined) return undefined;
  const counters = parseProcessIo(text, malformed);
  return FIELDS.map(([, field]) => {
    const value = counters.get(field);
    if (value === undefined) throw new Error(`${path} has no ${field}`);
    return value;
  });
}

function emitTotals(emit: Emit<typeof metrics>, id: NetnsId, counts: IoCounts): void {
  for (const [index, [metric]] of FIELDS.entries()) emit(metric, id, counts[index] ?? 0, NO_LABELS);
}

export const io = defineProbe({
  name: 'io',
  kind: 'procfs',
  cost: 'medium',
  enabledByDefault: false,
  summary:
    'Reads and writes of each Pod, and the bytes that went to storage. Enable it to see which Pod keeps the disk busy.',
  guide: {
    question: 'Which Pod keeps the disks busy?',
    when: 'Enable it when a node waits for its disks, to see which Pods cause the load.',
    query:
      'topk(10, sum by (namespace, pod) (rate(netsonde_io_read_bytes_total[5m]) + rate(netsonde_io_written_bytes_total[5m])))',
    limits: [
      'When a process ends and no process of its Pod waits for it, its I/O since the last scrape is lost.',
      'Writes are attributed to the process that wrote to the page cache, even if the file is removed before the data reaches the disk.',
      'The node itself and Pods with hostNetwork are not measured.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH'],
    kernel: '/proc/<pid>/io, which needs CONFIG_TASK_IO_ACCOUNTING. Kernels of distributions have it.',
  },
  measured: { processes: [{ what: '`io`', ms: 67 }] },
  open: async (scope, { processes, netns }) => {
    const { paths, errors } = scope;
    if (readText(join(paths.proc, 'self/io')) === undefined) {
      throw new Unsupported('the kernel has no /proc/<pid>/io (CONFIG_TASK_IO_ACCOUNTING)');
    }
    const kept = scope.retained(KEPT).value;
    scope.own(
      netns.onSweep((isDead) => {
        for (const [key, { netns: ids }] of kept) if (ids.every(isDead)) kept.delete(key);
      }),
    );
    let degraded: readonly string[] = [];
    return {
      health: () => ({ reader: 'files', degraded }),
      collect: async (emit, cycle) => {
        const { groups, degraded: unlisted } = await processes.list(cycle);
        const reader = new ProcessReader(errors, cycle);
        const groupReader = new GroupReader(paths.proc, reader);
        for (const { key, netns: ids, pids } of groups) {
          const totals = kept.get(key)?.totals ?? new IoTotals();
          if (!(await groupReader.update(totals, pids))) continue;
          kept.set(key, { totals, netns: ids });
          for (const id of ids) emitTotals(emit, id, totals.shown);
        }
        degraded = [...unlisted, ...reader.describe()];
      },
    };
  },
});
