import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IoTotals, type ProcessReading, type Readings } from './io_totals.ts';

interface ModelProcess {
  readonly pid: number;
  readonly startTime: number;
  readonly ignoresChildren: boolean;
  parent: ModelProcess | undefined;
  io: number;
  faults: number;
  takenIo: number;
  takenFaults: number;
  /**
   * The part of the counters that earlier readings included. The counters are those of the process itself and of
   * children that it has waited for.
   */
  read: number;
}

/**
 * Models how the kernel adds the counters of an exited process to its parent. The first process never exits, and adopts
 * orphans. Processes that ignore their children do not exit either, and their children have no children of their own. A
 * process that entered from outside the Pod does not wait for its children, which become orphans when it exits.
 */
class Model {
  readonly root: ModelProcess;
  /** Total I/O of all processes so far. */
  done = 0;
  /** I/O of processes for which no parent waited, counted from the last reading of each process. */
  lost = 0;
  readonly #living: ModelProcess[] = [];
  #clock = 0;

  constructor() {
    this.root = this.#start(undefined, false);
  }

  at(index: number): ModelProcess {
    return this.#living[index % this.#living.length] ?? this.root;
  }

  /** Adds a process. A process without a parent enters from outside the Pod, as with `kubectl exec`. */
  fork(parent: ModelProcess | undefined, ignoresChildren: boolean): void {
    if (parent?.parent?.ignoresChildren) return;
    this.#start(parent, ignoresChildren);
  }

  work(process: ModelProcess, bytes: number): void {
    process.io += bytes;
    process.faults += 1 + (bytes % 3);
    this.done += bytes;
  }

  /** Ends a process. Its parent then waits for it, unless the parent ignores SIGCHLD. */
  end(process: ModelProcess): void {
    if (process === this.root || process.ignoresChildren || this.#isFromOutside(process.parent)) return;
    for (const child of this.#living) if (child.parent === process) child.parent = this.root;
    this.#living.splice(this.#living.indexOf(process), 1);
    const { parent } = process;
    if (parent === undefined || parent.ignoresChildren) {
      this.lost += process.io + process.takenIo - process.read;
      return;
    }
    parent.read += process.read;
    parent.takenIo += process.io + process.takenIo;
    parent.takenFaults += process.faults + process.takenFaults;
  }

  read(): Readings {
    for (const process of this.#living) process.read = process.io + process.takenIo;
    const readings = this.#living.map(
      ({ pid, startTime, parent, io, faults, takenIo, takenFaults }): ProcessReading => ({
        pid,
        startTime,
        comm: 'x',
        state: 'S',
        parent: parent?.pid ?? 0,
        pidNamespace: 'pid:[1]',
        faults,
        childFaults: takenFaults,
        io: [io + takenIo],
      }),
    );
    return new Map(readings.map((reading) => [reading.pid, reading]));
  }

  #isFromOutside(process: ModelProcess | undefined): boolean {
    return process !== undefined && process !== this.root && process.parent === undefined;
  }

  #start(parent: ModelProcess | undefined, ignoresChildren: boolean): ModelProcess {
    const used = new Set(this.#living.map(({ pid }) => pid));
    let pid = 1;
    while (used.has(pid)) pid++;
    const process = {
      pid,
      startTime: this.#clock++,
      ignoresChildren,
      parent,
      io: 0,
      faults: 1,
      takenIo: 0,
      takenFaults: 0,
      read: 0,
    };
    this.#living.push(process);
    return process;
  }
}

const inside = fc.oneof(
  fc.record({ kind: fc.constant('fork' as const), at: fc.nat(20), ignores: fc.boolean() }),
  fc.record({ kind: fc.constant('work' as const), at: fc.nat(20), bytes: fc.nat(1000) }),
  fc.record({ kind: fc.constant('end' as const), at: fc.nat(20) }),
  fc.record({ kind: fc.constant('read' as const) }),
);
const any = fc.oneof({ weight: 4, arbitrary: inside }, fc.record({ kind: fc.constant('enter' as const) }));

type Step = typeof any extends fc.Arbitrary<infer S> ? S : never;

const LENGTH = { minLength: 20, maxLength: 80 };
const RUNS = { numRuns: 1000 };

function play(steps: readonly Step[], mayIgnore: boolean): { total: number; done: number; lost: number }[] {
  const model = new Model();
  const totals = new IoTotals();
  const shown: { total: number; done: number; lost: number }[] = [];
  for (const step of steps) {
    if (step.kind === 'fork') model.fork(model.at(step.at), mayIgnore && step.ignores);
    else if (step.kind === 'enter') model.fork(undefined, false);
    else if (step.kind === 'work') model.work(model.at(step.at), step.bytes);
    else if (step.kind === 'end') model.end(model.at(step.at));
    else {
      totals.update(model.read());
      shown.push({ total: Number(totals.shown[0]), done: model.done, lost: model.lost });
    }
  }
  return shown;
}

function reading(pid: number, parent: number, io: number, faults: number, childFaults = 0): ProcessReading {
  return { pid, startTime: pid, comm: 'x', state: 'S', parent, pidNamespace: '', faults, childFaults, io: [io] };
}

function readings(...all: readonly ProcessReading[]): Readings {
  return new Map(all.map((one) => [one.pid, one]));
}

describe('IoTotals', () => {
  it('shows all I/O, whichever processes have ended, if all are waited for inside the group', () => {
    fc.assert(
      fc.property(fc.array(inside, LENGTH), (steps) => {
        for (const { total, done } of play(steps, false)) expect(total).toBe(done);
      }),
      RUNS,
    );
  });

  it('misses only I/O after the last reading, and never steps back, if some are not waited for', () => {
    fc.assert(
      fc.property(fc.array(any, LENGTH), (steps) => {
        let last = 0;
        for (const { total, done, lost } of play(steps, true)) {
          expect(total).toBeLessThanOrEqual(done);
          expect(total).toBeGreaterThanOrEqual(done - lost);
          expect(total).toBeGreaterThanOrEqual(last);
          last = total;
        }
      }),
      RUNS,
    );
  });

  it('finds a child in the counters of its parent if there is one', () => {
    const totals = new IoTotals();
    totals.update(readings(reading(1, 0, 100, 10), reading(2, 1, 20, 5), reading(3, 1, 20, 5)));
    totals.update(readings(reading(1, 0, 170, 10, 5)));
    expect(totals.shown).toEqual([190]);
  });

  it('prefers a child over an orphan in the counters of a parent', () => {
    const totals = new IoTotals();
    const child = reading(5, 2, 20, 5);
    const orphan = reading(4, 3, 20, 5);
    totals.update(readings(reading(1, 0, 100, 9), reading(2, 1, 100, 9), reading(3, 2, 20, 5), orphan, child));
    // The second process has waited for its two children, and the first one for the orphan.
    totals.update(readings(reading(1, 0, 120, 9, 5), reading(2, 1, 200, 9, 10)));
    expect(totals.shown).toEqual([320]);
  });

  it('finds no child of a living parent in the counters of another process', () => {
    const totals = new IoTotals();
    totals.update(readings(reading(1, 0, 100, 10), reading(2, 1, 20, 5), reading(3, 2, 7, 5)));
    totals.update(readings(reading(1, 0, 150, 10, 50), reading(2, 1, 20, 5)));
    expect(totals.shown).toEqual([177]);
  });

  it('does not change until the counters of its parent contain a child', () => {
    const totals = new IoTotals();
    totals.update(readings(reading(1, 0, 100, 10), reading(2, 1, 20, 5)));
    totals.update(readings(reading(1, 0, 100, 10, 5)));
    expect(totals.shown).toEqual([120]);
    totals.update(readings(reading(1, 0, 125, 10, 5)));
    expect(totals.shown).toEqual([125]);
  });

  it('treats a reused process id as another process', () => {
    const totals = new IoTotals();
    totals.update(readings({ ...reading(5, 0, 100, 10), startTime: 1 }));
    totals.update(readings({ ...reading(5, 0, 3, 10), startTime: 2 }));
    expect(totals.shown).toEqual([103]);
  });

  it('adds numbers that no double holds', () => {
    const totals = new IoTotals();
    const large = { ...reading(1, 0, 0, 1), io: [2n ** 63n] };
    totals.update(readings(large, reading(2, 0, 1, 1)));
    expect(totals.shown).toEqual([2n ** 63n + 1n]);
  });
});
