import { addCounters, type Counter } from '#core/counter.ts';
import type { ProcessStat } from '#sources/procfs/stat.ts';

/** Counters of one process or of a group. The fields and their order are always the same. */
export type IoCounts = readonly Counter[];

export interface ProcessReading extends ProcessStat {
  readonly pid: number;
  /**
   * PID namespace, as in the link ns/pid. Empty for the agent's own PID namespace, in which no init process of the
   * group adopts orphans.
   */
  readonly pidNamespace: string;
  readonly io: IoCounts;
}

/** Readings by process ID, sorted by the age of the process, oldest first. */
export type Readings = ReadonlyMap<number, ProcessReading>;

/**
 * Sums the I/O of a group of processes. The totals never decrease, even when processes end.
 *
 * When a parent waits for an ended process, the kernel adds the counters of the process to those of the parent
 * (kernel/exit.c, wait_task_zombie()). If SIGCHLD is ignored, the kernel discards the counters. If the parent is
 * outside of the group, the counters leave the group. In these two cases, the last reading is kept here. Whether a
 * member of the group has inherited the counters can be seen from its number of page faults of children: the kernel
 * adds the page faults at the same time, but counts them separately from those of the parent itself.
 *
 * Older processes must be read before younger ones, and all readings must be taken after the missing processes have
 * ended.
 */
export class IoTotals {
  #members: Readings = new Map();
  /** Counters of ended processes that were not inherited by another process. */
  #ended: IoCounts = [];
  #shown: IoCounts = [];

  /** Readings of the last update. */
  get members(): Readings {
    return this.#members;
  }

  /** Totals of the group; empty until an update has found a process. */
  get shown(): IoCounts {
    return this.#shown;
  }

  /** Returns the members of the last update that are missing from the readings. */
  gone(now: Readings): ProcessReading[] {
    return [...this.#members.values()].filter((member) => !isIn(now, member));
  }

  update(now: Readings): void {
    const ended = this.#withTakers(now);
    // If the parent is alive, only the parent can have inherited the counters. Processes with a living parent are
    // therefore handled first.
    ended.sort((a, b) => Number(b.hasParent) - Number(a.hasParent));
    const unclaimed = new Map([...now.values()].map((reading) => [reading.pid, this.#newChildFaults(reading)]));
    for (const { process, takers } of ended) {
      if (!claim(unclaimed, takers, process.faults + process.childFaults)) this.#ended = add(this.#ended, process.io);
    }
    this.#members = now;
    const sum = [...now.values()].reduce((total, { io }) => add(total, io), this.#ended);
    // If a parent waited for a child while the parent was being read, the child's counters appear only in the next
    // reading of the parent.
    this.#shown = sum.map((value, index) => max(value, this.#shown[index] ?? 0));
  }

  /** Returns the ended processes, each with the processes that may have waited for it. */
  #withTakers(now: Readings): { process: ProcessReading; hasParent: boolean; takers: number[] }[] {
    const inits = new Map<string, ProcessReading>();
    for (const member of this.#members.values()) {
      const { pidNamespace } = member;
      if (pidNamespace !== '' && !inits.has(pidNamespace)) inits.set(pidNamespace, member);
    }
    return this.gone(now).map((process) => {
      const ancestors = this.#ancestors(process);
      const hasParent = ancestors[0] !== undefined && isIn(now, ancestors[0]);
      const init = inits.get(process.pidNamespace);
      // If the parent is outside of the group, it has inherited the counters. An orphan is reaped by an ancestor or by
      // the init process of its PID namespace.
      const elders = ancestors.length === 0 || init === undefined ? ancestors : [...new Set([...ancestors, init])];
      const living = elders.filter((elder) => isIn(now, elder)).map(({ pid }) => pid);
      return { process, hasParent, takers: hasParent ? living.slice(0, 1) : living };
    });
  }

  /** Returns the ancestors as of the last update, nearest first. */
  #ancestors(process: ProcessReading): ProcessReading[] {
    const ancestors = new Set<ProcessReading>();
    let next = this.#members.get(process.parent);
    while (next !== undefined && !ancestors.has(next)) {
      ancestors.add(next);
      next = this.#members.get(next.parent);
    }
    return [...ancestors];
  }

  /** Returns the page faults of children for which the process has waited since the last update. */
  #newChildFaults(reading: ProcessReading): number {
    const member = this.#members.get(reading.pid);
    return member?.startTime === reading.startTime ? reading.childFaults - member.childFaults : 0;
  }
}

function isIn(now: Readings, { pid, startTime }: ProcessReading): boolean {
  return now.get(pid)?.startTime === startTime;
}

/**
 * Subtracts the page faults of an ended process from the unclaimed page faults of the processes that may have waited
 * for it. If there are not enough of them, subtracts nothing and returns false.
 */
function claim(unclaimed: Map<number, number>, takers: readonly number[], faults: number): boolean {
  const left = takers.reduce((sum, pid) => sum + (unclaimed.get(pid) ?? 0), 0);
  if (takers.length === 0 || left < faults) return false;
  let missing = faults;
  for (const pid of takers) {
    const part = Math.min(unclaimed.get(pid) ?? 0, missing);
    unclaimed.set(pid, (unclaimed.get(pid) ?? 0) - part);
    missing -= part;
  }
  return true;
}

function add(a: IoCounts, b: IoCounts): IoCounts {
  return a.length === 0 ? b : a.map((value, index) => addCounters(value, b[index] ?? 0));
}

function max(a: Counter, b: Counter): Counter {
  return a < b ? b : a;
}
