/**
 * State of a probe that outlives its runs: the totals that its kernel maps showed when they were closed, say. A counter that
 * goes on after its probe was off and on again must not step back, so each run adds them to what its own maps show.
 */
export interface Retained<T> {
  value: T;
}

/** Declares one thing that a probe retains. Probes that share a declaration have one value each. */
export interface RetainedState<T> {
  readonly initial: () => T;
}

/** @param initial makes the value of a probe that has retained nothing yet */
export function defineRetained<T>(initial: () => T): RetainedState<T> {
  return { initial };
}

/** What all probes retain, by probe and declaration: as long as the kernel thread lives. */
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
