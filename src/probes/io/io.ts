import { join } from 'node:path';
import type { NetnsId } from '#core/netns.ts';
import { Unsupported } from '#core/reader.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, type Emit, NO_LABELS } from '#probe/metric.ts';
import { ProcessReader } from '#probe/process_reader.ts';
import { defineRetained } from '#probe/retained.ts';
import type { Garbled } from '#sources/errors.ts';
import { parseProcessIo } from '#sources/procfs/io.ts';
import { readPidNamespace } from '#sources/procfs/pid_namespace.ts';
import { readText } from '#sources/procfs/read.ts';
import { type ProcessStat, parseStat } from '#sources/procfs/stat.ts';
import { type IoCounts, IoTotals, type ProcessReading, type Readings } from './io_totals.ts';

// Namespaced: no, by process. A Pod has the processes of its cgroups (src/pods/process_groups.ts), in whatever network namespace. Those of the
// node, and of hostNetwork Pods, which are not told apart from it, are not looked at: they would be all of the machine that are in no Pod.
// What a process has done since the last scrape is lost when it ends and nobody in the Pod waits for it; the rest is not (io_totals.ts).

const counter = { type: 'counter', scope: 'pod', labels: {} } as const;

const metrics = defineMetrics({
  readSyscalls: {
    ...counter,
    name: 'netsonde_io_read_syscalls_total',
    help: 'Calls of read and its variants by the processes of the Pod, on files, pipes and sockets; not of the node itself.',
    source: '/proc/<pid>/io syscr',
    detail: 'full',
  },
  writeSyscalls: {
    ...counter,
    name: 'netsonde_io_write_syscalls_total',
    help: 'Calls of write and its variants by the processes of the Pod, on files, pipes and sockets; not of the node itself.',
    source: '/proc/<pid>/io syscw',
    detail: 'full',
  },
  readBytes: {
    ...counter,
    name: 'netsonde_io_read_bytes_total',
    unit: 'bytes',
    help: 'Bytes that the processes of the Pod had fetched from storage, without the last of one that ends between scrapes unless the Pod waits for it; not of the node itself.',
    source: '/proc/<pid>/io read_bytes',
    detail: 'core',
  },
  writtenBytes: {
    ...counter,
    name: 'netsonde_io_written_bytes_total',
    unit: 'bytes',
    help: 'Bytes that the processes of the Pod had sent to storage, without the last of one that ends between scrapes unless the Pod waits for it; not of the node itself.',
    source: '/proc/<pid>/io write_bytes',
    detail: 'core',
  },
});

/** In the order of the counts. */
const FIELDS = [
  ['readSyscalls', 'syscr'],
  ['writeSyscalls', 'syscw'],
  ['readBytes', 'read_bytes'],
  ['writtenBytes', 'write_bytes'],
] as const;

/** So often a group is read at most until nothing ends meanwhile; else its totals stay as they are until the next time. */
const PASSES_MAX = 4;
/** Ended, and not waited for yet: it still has counters. */
const ENDED = /[ZX]/;

/** What is kept of a group, also while the probe is off. */
interface Kept {
  readonly totals: IoTotals;
  readonly netns: readonly NetnsId[];
}

/** By the key of the group. */
const KEPT = defineRetained(() => new Map<string, Kept>());

/** Reads the groups in one collection. */
class GroupReader {
  readonly #proc: string;
  readonly #reader: ProcessReader;
  readonly #ownPidNamespace: string;

  constructor(proc: string, reader: ProcessReader) {
    this.#proc = proc;
    this.#reader = reader;
    this.#ownPidNamespace = readPidNamespace(join(proc, 'self'));
  }

  /** Brings the totals of a group up to date; returns whether all of it could be read. */
  async update(totals: IoTotals, pids: readonly number[]): Promise<boolean> {
    let gone = 0;
    for (let pass = 0; pass < PASSES_MAX; pass++) {
      const now = await this.#readAll(pids, totals.members);
      if (now === undefined) return false;
      const goneNow = totals.gone(now).length;
      // What has ended since the last pass may be in what was read of its parent, or not.
      if (goneNow === gone) {
        totals.update(now);
        return true;
      }
      gone = goneNow;
    }
    return true;
  }

  /** Of those listed, and of earlier members that are still there, the oldest first. Undefined where one cannot be read. */
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
      // One that has gone to another owner has done here what it did until then.
      return isHere ? this.#read(pid, stat, earlier) : earlier;
    });
    return processes && readings && new Map(readings.map((reading) => [reading.pid, reading]));
  }

  #read(pid: number, stat: ProcessStat, earlier: ProcessReading | undefined): ProcessReading | undefined {
    const io = readCounts(this.#proc, pid, this.#reader.garbled('io'));
    const pidNamespace = earlier?.pidNamespace ?? readPidNamespace(join(this.#proc, String(pid)));
    return io && { ...stat, pid, pidNamespace: pidNamespace === this.#ownPidNamespace ? '' : pidNamespace, io };
  }
}

/** Undefined where the process is gone. @throws where it cannot be read */
function readStat(proc: string, pid: number): ProcessStat | undefined {
  const path = join(proc, String(pid), 'stat');
  const text = readText(path);
  const stat = text === undefined ? undefined : parseStat(text);
  if (text !== undefined && stat === undefined) throw new Error(`${path} is garbled`);
  return stat;
}

/** Undefined where the process is gone. @throws where it cannot be read */
function readCounts(proc: string, pid: number, garbled: Garbled): IoCounts | undefined {
  const path = join(proc, String(pid), 'io');
  const text = readText(path);
  if (text === undefined) return undefined;
  const counters = parseProcessIo(text, garbled);
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
  summary: 'Reads and writes of each Pod, and what of it went to storage. Switch it on to see who keeps the disk busy.',
  guide: {
    question: 'Which Pod keeps the disks busy?',
    when: 'Switch it on when a node waits for its disks, to see who asks for so much.',
    query:
      'topk(10, sum by (namespace, pod) (rate(netsonde_io_read_bytes_total[5m]) + rate(netsonde_io_written_bytes_total[5m])))',
    limits: [
      'What a process has done since the last scrape is lost when it ends and nobody in its Pod waits for it.',
      'What is written counts for who wrote it into the page cache, also where the file is removed before it reaches the disk.',
      'Not for the node itself, and not for Pods with hostNetwork.',
    ],
  },
  metrics,
  events: {},
  options: {},
  requires: {
    capabilities: ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH'],
    kernel: '/proc/<pid>/io: CONFIG_TASK_IO_ACCOUNTING, which distributions have.',
  },
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
