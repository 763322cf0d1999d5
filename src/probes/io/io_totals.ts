import { addCounters, type Counter } from '#core/counter.ts';
import type { ProcessStat } from '#sources/procfs/stat.ts';

/** Counters of one process, or of a group: always the same number of them, in the same order. */
export type IoCounts = readonly Counter[];

export interface ProcessReading extends ProcessStat {
  readonly pid: number;
  /** PID namespace, as its link names it, if it has an init process of its own that takes orphans; otherwise empty. */
  readonly pidNamespace: string;
  readonly io: IoCounts;
}

/** Readings by process id, the oldest process first. */
export type Readings = ReadonlyMap<number, ProcessReading>;

/**
 * Adds up the I/O of a group of processes. The totals do not step back when processes end.
 *
 * The kernel adds the counters of an ended process to the parent that waits for it (kernel/exit.c, wait_task_zombie()), and the parent's
 * counters include them from then on. Where no parent waits, because SIGCHLD is ignored or the parent is outside of the group, no process
 * has them any more: the last reading is kept. The page faults of children decide which of the two happened: the kernel adds them up in the
 * same place and shows them separately from the parent's own.
 *
 * Readings must be taken so that an older process is read before a younger one, and each of them after the missing processes were gone.
 */
export class IoTotals {
  #members: Readings = new Map();
  /** Counters of ended processes that are in no other process's counters. */
  #ended: IoCounts = [];
  #shown: IoCounts = [];

  /** Readings of the last update. */
  get members(): Readings {
    return this.#members;
  }

  /** Totals of the group. Empty before the first update, and while there was no process. */
  get shown(): IoCounts {
    return this.#shown;
  }

  /** Returns the members that these readings do not have. */
  gone(now: Readings): ProcessReading[] {
    return [...this.#members.values()].filter((member) => !isIn(now, member));
  }

  update(now: Readings): void {
    const ended = this.#withTakers(now);
    // Children of a living parent are in its counters or in none, so they come first.
    ended.sort((a, b) => Number(b.hasParent) - Number(a.hasParent));
    const unclaimed = new Map([...now.values()].map((reading) => [reading.pid, this.#newChildFaults(reading)]));
    for (const { process, takers } of ended) {
      if (!claim(unclaimed, takers, process.faults + process.childFaults)) this.#ended = add(this.#ended, process.io);
    }
    this.#members = now;
    const sum = [...now.values()].reduce((total, { io }) => add(total, io), this.#ended);
    // The parent has waited for a child just while it was read: the child is only in its next reading.
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
      // A process whose parent was outside is waited for there; an orphan is waited for by an ancestor, or by the init process of its PID
      // namespace.
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

  /** Returns the page faults of the children that a process has waited for since the last update. */
  #newChildFaults(reading: ProcessReading): number {
    const member = this.#members.get(reading.pid);
    return member?.startTime === reading.startTime ? reading.childFaults - member.childFaults : 0;
  }
}

function isIn(now: Readings, { pid, startTime }: ProcessReading): boolean {
  return now.get(pid)?.startTime === startTime;
}

/** Takes the given number of page faults from the processes that have some left; takes none where all together have too few. */
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
