import { addCounters, type Counter } from '#core/counter.ts';
import type { ProcessStat } from '#sources/procfs/stat.ts';

/** Counters of one process or of a group, always with the same fields in the same order. */
export type IoCounts = readonly Counter[];

export interface ProcessReading extends ProcessStat {
  readonly pid: number;
  /** PID namespace as named by its link; empty unless its own init process adopts orphans. */
  readonly pidNamespace: string;
  readonly io: IoCounts;
}

/** Readings by process ID, sorted by the age of the process with the oldest first. */
export type Readings = ReadonlyMap<number, ProcessReading>;

/**
 * Sums the I/O of a group of processes. The totals never decrease, even when processes end.
 *
 * The kernel adds the counters of an ended process to the parent that waits for it (kernel/exit.c, wait_task_zombie()),
 * so the parent's counters include them from then on. If no parent waits, because SIGCHLD is ignored or the parent is
 * outside of the group, the kernel discards the counters and the last reading is kept here. The page faults of children
 * show which of the two happened, because the kernel adds them to the parent at the same time, but shows them
 * separately from the parent's own.
 *
 * An older process must be read before a younger one, and all readings must be taken after the missing processes have
 * ended.
 */
export class IoTotals {
  #members: Readings = new Map();
  /** Counters of ended processes that no other process has inherited. */
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

  /** Returns the members that are missing in the readings. */
  gone(now: Readings): ProcessReading[] {
    return [...this.#members.values()].filter((member) => !isIn(now, member));
  }

  update(now: Readings): void {
    const ended = this.#withTakers(now);
    // If the parent is alive, only the parent can have inherited the counters. Processes with a living parent are
    // handled first.
    ended.sort((a, b) => Number(b.hasParent) - Number(a.hasParent));
    const unclaimed = new Map([...now.values()].map((reading) => [reading.pid, this.#newChildFaults(reading)]));
    for (const { process, takers } of ended) {
      if (!claim(unclaimed, takers, process.faults + process.childFaults)) this.#ended = add(this.#ended, process.io);
    }
    this.#members = now;
    const sum = [...now.values()].reduce((total, { io }) => add(total, io), this.#ended);
    // If the parent waited for a child while the parent was being read, the child's counters only appear in the
    // parent's next reading.
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
      // If the parent is outside of the group, it waits there. An orphan is waited for by an ancestor or by the init
      // process of its PID namespace.
      const elders = ancestors.length === 0 || init === undefined ? ancestors : [...new Set([...ancestors, init])];
      const living = elders.filter((elder) => isIn(now, elder)).map(({ pid }) => pid);
      return { process, hasParent, takers: hasParent ? living.slice(0, 1) : living };
    });
  }

  /** Returns the ancestors as of the last update, the nearest first. */
  #ancestors(process: ProcessReading): ProcessReading[] {
    const ancestors = new Set<ProcessReading>();
    let next = this.#members.get(process.parent);
    while (next !== undefined && !ancestors.has(next)) {
      ancestors.add(next);
      next = this.#members.get(next.parent);
    }
    return [...ancestors];
  }

  /** Returns the page faults of children that the process has waited for since the last update. */
  #newChildFaults(reading: ProcessReading): number {
    const member = this.#members.get(reading.pid);
    return member?.startTime === reading.startTime ? reading.childFaults - member.childFaults : 0;
  }
}

function isIn(now: Readings, { pid, startTime }: ProcessReading): boolean {
  return now.get(pid)?.startTime === startTime;
}

/**
 * Subtracts the page faults of an ended process from the unclaimed faults of the processes that may have waited for it.
 * Returns false and subtracts nothing if these are too few.
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
