/**
 * What outlives a run of a probe: the totals that its kernel maps showed when they were closed. A counter that goes on
 * after its probe was off and on again must not step back, so each run adds them to what its own maps show.
 */
export interface Memory<T> {
  value: T | undefined;
}

export class Memories {
  readonly #byKey = new Map<string, Memory<unknown>>();

  /** The memory under a key; who uses a key decides what is in it. */
  of<T>(key: string): Memory<T> {
    let memory = this.#byKey.get(key);
    if (memory === undefined) {
      memory = { value: undefined };
      this.#byKey.set(key, memory);
    }
    return memory as Memory<T>;
  }
}
