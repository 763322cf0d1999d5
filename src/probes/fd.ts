import { join } from 'node:path';
import * as z from 'zod';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import { defineProbe } from '#probe/contract.ts';
import { defineMetrics, type Emit, NO_LABELS } from '#probe/metric.ts';
import { ProcessReader } from '#probe/process_reader.ts';
import { Descriptors, parseOpenFilesLimit } from '#sources/procfs/fd.ts';
import { readText } from '#sources/procfs/read.ts';

// These metrics are per process and not per network namespace. The processes of a Pod are those in its cgroups
// (src/pods/process_groups.ts), regardless of their network namespaces. All other processes belong to the node or to
// hostNetwork Pods, which share the node's network namespace, and are not read.

const gauge = { type: 'gauge', scope: 'pod', labels: {}, detail: 'core' } as const;

const metrics = defineMetrics({
  open: {
    ...gauge,
    name: 'netsonde_open_file_descriptors',
    help: 'Open file descriptors of the processes of the Pod. A descriptor shared by several processes is counted once per process. Not measured for the node itself.',
    source: '/proc/<pid>/fd',
  },
  sockets: {
    ...gauge,
    name: 'netsonde_open_sockets',
    help: 'Open sockets of the processes of the Pod. A socket shared by several processes is counted once per process. Not measured for the node itself.',
    source: '/proc/<pid>/fd, links to socket:[…]',
  },
  limitUsed: {
    ...gauge,
    name: 'netsonde_file_descriptor_limit_used_ratio',
    unit: 'ratio',
    help: 'Highest ratio of open file descriptors to the soft limit (RLIMIT_NOFILE) among the processes of the Pod. Not measured for the node itself.',
    source: '/proc/<pid>/fd, /proc/<pid>/limits Max open files',
  },
});

/**
 * Milliseconds after which no further links are read. Reading a link takes about 3 µs, and a whole collection may take
 * a second.
 */
const SOCKETS_MS = 700;
/** Number of links read between two checks of the time. */
const LINKS_A_TURN = 256;

interface Usage {
  readonly pid: number;
  readonly open: number;
  /** Fraction of the limit that is used; undefined if there is no limit. */
  readonly limitUsed: number | undefined;
}

/** Returns the usage of a process; undefined if the process has exited. @throws if it cannot be read */
function usageOf(proc: string, descriptors: Descriptors, pid: number): Usage | undefined {
  const process = join(proc, String(pid));
  const open = descriptors.count(process);
  if (open === undefined) return undefined;
  const limit = parseOpenFilesLimit(readText(join(process, 'limits')) ?? '');
  return { pid, open, limitUsed: limit === undefined || limit === 0 ? undefined : open / limit };
}

/** Counts sockets during one collection, until the time limit is reached. */
class SocketCount {
  readonly #proc: string;
  readonly #descriptors: Descriptors;
  readonly #cycle: Cycle;
  readonly #untilMs = performance.now() + SOCKETS_MS;

  constructor(proc: string, descriptors: Descriptors, cycle: Cycle) {
    this.#proc = proc;
    this.#descriptors = descriptors;
    this.#cycle = cycle;
  }

  /** Returns the number of sockets; undefined if the time limit was reached. @throws if a process cannot be read */
  async of(usages: readonly Usage[]): Promise<number | undefined> {
    let sockets = 0;
    for (const { pid } of usages) {
      const ofProcess = await this.#ofProcess(join(this.#proc, String(pid)));
      if (ofProcess === undefined) return undefined;
      sockets += ofProcess;
    }
    return sockets;
  }

  async #ofProcess(process: string): Promise<number | undefined> {
    if (performance.now() > this.#untilMs) return undefined;
    let sockets = 0;
    for (const [index, path] of (this.#descriptors.list(process) ?? []).entries()) {
      if (this.#descriptors.isSocket(path)) sockets++;
      if (index % LINKS_A_TURN < LINKS_A_TURN - 1) continue;
      await this.#cycle.pause();
      if (performance.now() > this.#untilMs) return undefined;
    }
    return sockets;
  }
}

interface PodUsage {
  readonly netns: readonly NetnsId[];
  readonly usages: readonly Usage[];
  readonly open: number;
  readonly limitUsed: number | undefined;
}

function addUp(netns: readonly NetnsId[], usages: readonly Usage[]): PodUsage {
  const open = usages.reduce((sum, usage) => sum + usage.open, 0);
  const shares = usages.flatMap(({ limitUsed }) => limitUsed ?? []);
  const limitUsed = shares.length === 0 ? undefined : shares.reduce((most, share) => Math.max(most, share));
  return { netns, usages, open, limitUsed };
}

type FdEmit = Emit<typeof metrics>;

function emitUsage(emit: FdEmit, { netns, open, limitUsed }: PodUsage): void {
  for (const id of netns) {
    emit('open', id, open, NO_LABELS);
    if (limitUsed !== undefined) emit('limitUsed', id, limitUsed, NO_LABELS);
  }
}

/**
 * Emits the number of sockets. Pods with many descriptors come last, so they are the ones that are skipped when the
 * time limit is reached. Returns the number of skipped Pods.
 */
async function emitSockets(
  emit: FdEmit,
  pods: readonly PodUsage[],
  count: SocketCount,
  reader: ProcessReader,
): Promise<number> {
  let late = 0;
  for (const { netns, usages } of [...pods].sort((a, b) => a.open - b.open)) {
    const counted = await reader.all('fd', [usages], (of) => count.of(of));
    const [sockets] = counted ?? [];
    if (counted?.length === 0) late++;
    if (sockets !== undefined) for (const id of netns) emit('sockets', id, sockets, NO_LABELS);
  }
  return late;
}

export const fd = defineProbe({
  name: 'fd',
  kind: 'procfs',
  cost: 'medium',
  enabledByDefault: false,
  summary:
    'Open file descriptors and sockets of each Pod, and how close they are to their limit. Enable it to find leaks.',
  guide: {
    question: 'Is a Pod running out of file descriptors, or leaking them?',
    when: 'Enable it when a Pod logs `too many open files`, or to see whether its number of descriptors keeps growing. Set `sockets: false` on nodes with many processes.',
    query: 'max by (namespace, pod) (netsonde_file_descriptor_limit_used_ratio) > 0.8',
    limits: [
      'Counting sockets takes a few microseconds per descriptor. After 0.7 seconds the sockets of the remaining Pods are not counted, and the probe reports the number of these Pods.',
      'The node itself and Pods with hostNetwork are not measured.',
    ],
  },
  metrics,
  events: {},
  options: {
    sockets: z
      .boolean()
      .default(true)
      .describe('Count sockets. This reads every descriptor, unlike the total, which is a single read per process.'),
  },
  requires: {
    capabilities: ['CAP_SYS_PTRACE', 'CAP_DAC_READ_SEARCH'],
    kernel: 'Any, by /proc/<pid>/fd. Since 6.2 descriptors are counted without listing them.',
  },
  measured: {
    processes: [
      { what: '`fd` with `sockets: false`', ms: 53 },
      { what: '`fd`', ms: 554 },
    ],
  },
  alerts: [
    {
      name: 'NetsondeFileDescriptors',
      severity: 'warning',
      metric: 'limitUsed',
      of: 'max',
      above: 0.9,
      for: '10m',
      summary: 'has a process that uses {{ $value | humanizePercentage }} of its file descriptors.',
      description:
        'Once they are used up, the process can neither accept nor open connections. A number that keeps growing indicates a leak: restart the process, then find the descriptors that it does not close.',
      runbook:
        'A process uses over 90 % of its file descriptors, and will soon be able to neither accept nor open connections. In *Pod: File descriptors, of their limit*, a line that keeps rising indicates a leak. Restart the process, then look for descriptors that it does not close (`ls -l /proc/PID/fd`).',
    },
  ],
  open: async (scope, sources, { options }) => {
    const descriptors = new Descriptors(scope.paths.proc);
    let degraded: readonly string[] = [];
    return {
      health: () => ({ reader: 'files', degraded }),
      collect: async (emit, cycle) => {
        const { groups, degraded: unlisted } = await sources.processes.list(cycle);
        const reader = new ProcessReader(scope.errors, cycle);
        const { proc } = scope.paths;
        const pods: PodUsage[] = [];
        for (const { netns, pids } of groups) {
          const usages = await reader.all('fd', pids, (pid) => usageOf(proc, descriptors, pid));
          if (usages !== undefined) pods.push(addUp(netns, usages));
        }
        for (const pod of pods) emitUsage(emit, pod);
        const count = new SocketCount(proc, descriptors, cycle);
        const late = options.sockets ? await emitSockets(emit, pods, count, reader) : 0;
        degraded = [...unlisted, ...reader.describe(), ...lateness(late)];
      },
    };
  },
});

function lateness(pods: number): string[] {
  return pods === 0
    ? []
    : [`the sockets of ${pods} Pods are not counted because counting all would take longer than ${SOCKETS_MS} ms`];
}
