import { join } from 'node:path';
import * as z from 'zod';
import type { Cycle } from '../collectors/cycle.ts';
import { Descriptors, parseOpenFilesLimit } from '../sources/procfs/fd.ts';
import { readText } from '../sources/procfs/read.ts';
import { defineMetrics, type Emit, type NetnsId, NO_LABELS } from './metric.ts';
import { defineProbe } from './probe.ts';
import { ProcessReader } from './process_reader.ts';

// Namespaced: no, by process. A Pod has the processes of its cgroups (src/pods/process_groups.ts), in whatever network namespace. Those of the
// node, and of hostNetwork Pods, which are not told apart from it, are not looked at: they would be all of the machine that are in no Pod.

const gauge = { type: 'gauge', scope: 'pod', labels: {}, detail: 'core' } as const;

const metrics = defineMetrics({
  open: {
    ...gauge,
    name: 'netsonde_open_file_descriptors',
    help: 'Open file descriptors of the processes of the Pod, one that several share counted in each; not of the node itself.',
    source: '/proc/<pid>/fd',
  },
  sockets: {
    ...gauge,
    name: 'netsonde_open_sockets',
    help: 'Open file descriptors that are sockets, of the processes of the Pod, a socket that several share counted in each; not of the node itself.',
    source: '/proc/<pid>/fd, links to socket:[…]',
  },
  limitUsed: {
    ...gauge,
    name: 'netsonde_file_descriptor_limit_used_ratio',
    unit: 'ratio',
    help: 'Highest share of its soft limit of open files (RLIMIT_NOFILE) that a process of the Pod has used up; not of the node itself.',
    source: '/proc/<pid>/fd, /proc/<pid>/limits Max open files',
  },
});

/** A link takes some 3 µs to read, and a whole collection may take a second: what is left after so long is not looked at. */
const SOCKETS_MS = 700;
/** Links between two looks at the clock. */
const LINKS_A_TURN = 256;

interface Usage {
  readonly open: number;
  /** Undefined where they were not counted. */
  readonly sockets: number | undefined;
  /** Undefined where there is no limit to have a share of. */
  readonly limitUsed: number | undefined;
}

/** Counts the descriptors of processes in one collection. */
class DescriptorCount {
  readonly #proc: string;
  readonly #descriptors: Descriptors;
  readonly #cycle: Cycle;
  readonly #socketsUntilMs: number;

  constructor(proc: string, descriptors: Descriptors, withSockets: boolean, cycle: Cycle) {
    this.#proc = proc;
    this.#descriptors = descriptors;
    this.#cycle = cycle;
    this.#socketsUntilMs = withSockets ? performance.now() + SOCKETS_MS : 0;
  }

  /** Undefined where the process is gone. @throws where it cannot be read */
  async of(pid: number): Promise<Usage | undefined> {
    const process = join(this.#proc, String(pid));
    const open = this.#descriptors.count(process);
    if (open === undefined) return undefined;
    const limit = parseOpenFilesLimit(readText(join(process, 'limits')) ?? '');
    const limitUsed = limit === undefined || limit === 0 ? undefined : open / limit;
    return { open, sockets: await this.#sockets(process), limitUsed };
  }

  async #sockets(process: string): Promise<number | undefined> {
    if (performance.now() > this.#socketsUntilMs) return undefined;
    let sockets = 0;
    for (const [index, path] of (this.#descriptors.list(process) ?? []).entries()) {
      if (this.#descriptors.isSocket(path)) sockets++;
      if (index % LINKS_A_TURN < LINKS_A_TURN - 1) continue;
      await this.#cycle.pause();
      if (performance.now() > this.#socketsUntilMs) return undefined;
    }
    return sockets;
  }
}

function addUp(usages: readonly Usage[]): Usage {
  const areSocketsCounted = usages.every(({ sockets }) => sockets !== undefined);
  const shares = usages.flatMap(({ limitUsed }) => limitUsed ?? []);
  return {
    open: usages.reduce((sum, { open }) => sum + open, 0),
    sockets: areSocketsCounted ? usages.reduce((sum, { sockets }) => sum + (sockets ?? 0), 0) : undefined,
    limitUsed: shares.length === 0 ? undefined : shares.reduce((most, share) => Math.max(most, share)),
  };
}

function emitUsage(emit: Emit<typeof metrics>, id: NetnsId, { open, sockets, limitUsed }: Usage): void {
  emit('open', id, open, NO_LABELS);
  if (sockets !== undefined) emit('sockets', id, sockets, NO_LABELS);
  if (limitUsed !== undefined) emit('limitUsed', id, limitUsed, NO_LABELS);
}

export const fd = defineProbe({
  name: 'fd',
  kind: 'procfs',
  cost: 'medium',
  enabledByDefault: false,
  summary:
    'Open file descriptors and sockets of each Pod, and how near they are to their limit. Switch it on to find leaks.',
  metrics,
  events: {},
  options: {
    sockets: z
      .boolean()
      .default(true)
      .describe('Count sockets: takes a look at each descriptor, where the number of all of them is had at once.'),
  },
  requires: {
    capabilities: ['CAP_SYS_PTRACE'],
    kernel: 'Any: /proc/<pid>/fd. Since 6.2 descriptors are counted without listing them.',
  },
  open: async (_scope, sources, { options }) => {
    const descriptors = new Descriptors(sources.paths.proc);
    let degraded: readonly string[] = [];
    return {
      health: () => ({ reader: 'files', degraded }),
      collect: async (emit, cycle) => {
        const { groups, degraded: unlisted } = await sources.processes.list(cycle);
        const reader = new ProcessReader(sources.errors, cycle);
        const count = new DescriptorCount(sources.paths.proc, descriptors, options.sockets, cycle);
        let late = 0;
        for (const { netns, pids } of groups) {
          const usages = await reader.all('fd', pids, (pid) => count.of(pid));
          if (usages === undefined) continue;
          const usage = addUp(usages);
          for (const id of netns) emitUsage(emit, id, usage);
          if (options.sockets && usage.sockets === undefined) late++;
        }
        degraded = [...unlisted, ...reader.describe(), ...lateness(late)];
      },
    };
  },
});

function lateness(pods: number): string[] {
  return pods === 0
    ? []
    : [`sockets of ${pods} of the Pods are not counted: that would take longer than ${SOCKETS_MS} ms`];
}
