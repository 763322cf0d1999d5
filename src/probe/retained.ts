/**
 * State of a probe that outlives its runs, such as the totals that its kernel maps showed when they were closed. A counter that continues
 * after its probe was off and on again must not step back, so each run adds these totals to those of its own maps.
 */
export interface Retained<T> {
  value: T;
}

/** Declares one value that a probe retains. Probes that share a declaration have one value each. */
export interface RetainedState<T> {
  readonly initial: () => T;
}

/** @param initial makes the first value of a probe */
export function defineRetained<T>(initial: () => T): RetainedState<T> {
  return { initial };
}

/** Retained values of all probes, by probe and declaration, for the life of the kernel thread. */
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
