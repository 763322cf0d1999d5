import type { BpfObject } from 'bpf-napi';
import type { TestKernel } from '../../test/support/kernel.ts';

/** Runs of programs, and their time in nanoseconds. */
export interface RunTime {
  readonly runs: number;
  readonly nanoseconds: number;
}

export const DIRECTIONS = ['sent', 'received'] as const;

/** Run times at one moment. BPF statistics must be enabled. Programs that are called by tail call count for the caller. */
export class RunTimes {
  readonly #byName: ReadonlyMap<string, RunTime>;

  private constructor(byName: ReadonlyMap<string, RunTime>) {
    this.#byName = byName;
  }

  /** @param empty objects with the empty programs beside those of the agent, whose times are added up */
  static of(agent: TestKernel, empty: readonly BpfObject[]): RunTimes {
    const byName = new Map<string, RunTime>();
    const add = (name: string, runs: bigint, nanoseconds: number) => {
      const sum = byName.get(name) ?? { runs: 0, nanoseconds: 0 };
      byName.set(name, { runs: sum.runs + Number(runs), nanoseconds: sum.nanoseconds + nanoseconds });
    };
    for (const object of empty) {
      for (const { name } of object.programs) {
        const { runs, runNanoseconds } = object.programInfo(name);
        add(name, runs, Number(runNanoseconds));
      }
    }
    for (const { programs } of agent.kernel.probes()) {
      for (const { name, runs, runSeconds } of programs) add(name, BigInt(runs), runSeconds * 1e9);
    }
    return new RunTimes(byName);
  }

  since(earlier: RunTimes): RunTimes {
    return new RunTimes(
      new Map(
        [...this.#byName].map(([name, { runs, nanoseconds }]) => {
          const before = earlier.#byName.get(name);
          return [
            name,
            { runs: runs - (before?.runs ?? 0), nanoseconds: nanoseconds - (before?.nanoseconds ?? 0) },
          ] as const;
        }),
      ),
    );
  }

  /** Returns the nanoseconds of a run of a program. */
  each(name: string): number {
    const time = this.of(name);
    return time.nanoseconds / time.runs;
  }

  of(name: string): RunTime {
    const time = this.#byName.get(name);
    if (time === undefined) throw new Error(`no program ${name}`);
    return time;
  }

  /** Returns the nanoseconds of all programs except the empty ones. */
  get nanoseconds(): number {
    return [...this.#byName]
      .filter(([name]) => !name.startsWith('empty'))
      .reduce((sum, [, time]) => sum + time.nanoseconds, 0);
  }
}
