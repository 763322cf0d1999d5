import { addCounters, type Counter } from '#core/counter.ts';
import type { ProcessStat } from '#sources/procfs/stat.ts';

/** Counters of one process, or of a group: always as many, in the same order. */
export type IoCounts = readonly Counter[];

export interface ProcessReading extends ProcessStat {
  readonly pid: number;
  /** The PID namespace as its link names it, if it has a first process of its own that takes orphans; else empty. */
  readonly pidNamespace: string;
  readonly io: IoCounts;
}

/** Readings by process id, the oldest process first. */
export type Readings = ReadonlyMap<number, ProcessReading>;

/**
 * The I/O of a group of processes, which does not step back though processes end.
 *
 * What an ended process has done is added by the kernel to the parent that waits for it (kernel/exit.c, wait_task_zombie()), and is in that one's
 * counters from then on. Where nobody waits, because SIGCHLD is ignored or the parent is outside of the group, it is in none any more:
 * the last reading is kept. Which of the two happened is told by the page faults of children, which the kernel adds up in the same place and
 * shows apart from the parent's own.
 *
 * Readings must have been taken so that an older process was read before a younger one, and all of them after those that they do not
 * have were gone.
 */
export class IoTotals {
  #members: Readings = new Map();
  /** Of processes that have ended and are in nobody's counters. */
  #ended: IoCounts = [];
  #shown: IoCounts = [];

  /** What was read for the last update. */
  get members(): Readings {
    return this.#members;
  }

  /** Empty before the first update, and while there has been no process. */
  get shown(): IoCounts {
    return this.#shown;
  }

  /** Members that these readings do not have. */
  gone(now: Readings): ProcessReading[] {
    return [...this.#members.values()].filter((member) => !isIn(now, member));
  }

  update(now: Readings): void {
    const ended = this.#withTakers(now);
    // Children of a parent that is there are in that one's counters or in nobody's, so they come first.
    ended.sort((a, b) => Number(b.hasParent) - Number(a.hasParent));
    const unclaimed = new Map([...now.values()].map((reading) => [reading.pid, this.#newChildFaults(reading)]));
    for (const { process, takers } of ended) {
      if (!claim(unclaimed, takers, process.faults + process.childFaults)) this.#ended = add(this.#ended, process.io);
    }
    this.#members = now;
    const sum = [...now.values()].reduce((total, { io }) => add(total, io), this.#ended);
    // A child that is waited for just when its parent is read is in the parent's next reading only.
    this.#shown = sum.map((value, index) => max(value, this.#shown[index] ?? 0));
  }

  /** The ended processes, each with who may have waited for it. */
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
      // One whose parent was outside is waited for there; an orphan by an ancestor, or by the first process of its PID namespace.
      const elders = ancestors.length === 0 || init === undefined ? ancestors : [...new Set([...ancestors, init])];
      const living = elders.filter((elder) => isIn(now, elder)).map(({ pid }) => pid);
      return { process, hasParent, takers: hasParent ? living.slice(0, 1) : living };
    });
  }

  /** As they were at the last update, the nearest first. */
  #ancestors(process: ProcessReading): ProcessReading[] {
    const ancestors = new Set<ProcessReading>();
    let next = this.#members.get(process.parent);
    while (next !== undefined && !ancestors.has(next)) {
      ancestors.add(next);
      next = this.#members.get(next.parent);
    }
    return [...ancestors];
  }

  /** Page faults of the children that a process has waited for since the last update. */
  #newChildFaults(reading: ProcessReading): number {
    const member = this.#members.get(reading.pid);
    return member?.startTime === reading.startTime ? reading.childFaults - member.childFaults : 0;
  }
}

function isIn(now: Readings, { pid, startTime }: ProcessReading): boolean {
  return now.get(pid)?.startTime === startTime;
}

/** Takes so many from those that have them left, or, where all of them together have not, none. */
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
