/**
 * State of a probe that outlives its runs, for example the totals of its BPF maps at the time they were closed. A
 * counter must not decrease when its probe is disabled and enabled again, so each run adds the totals of earlier runs
 * to those of its own maps.
 */
export interface Retained<T> {
  value: T;
}

/** Declares a value that probes retain. Each probe that uses the declaration has its own value. */
export interface RetainedState<T> {
  readonly initial: () => T;
}

/** @param initial creates the initial value for a probe */
export function defineRetained<T>(initial: () => T): RetainedState<T> {
  return { initial };
}

/** Retained values by probe and declaration. They exist as long as the kernel thread. */
export class RetainedStates {
  readonly #byProbe = new Map<string, Map<RetainedState<unknown>, Retained<unknown>>>();

  of<T>(probe: string, state: RetainedState<T>): Retained<T> {
    let states = this.#byProbe.get(probe);
    if (states === undefined) {
      states = new Map();
      this.#byProbe.set(probe, states);
    }
    let retained = states.get(state);
    if (retained === undefined) {
      retained = { value: state.initial() };
      states.set(state, retained);
    }
    return retained as Retained<T>;
  }
}
