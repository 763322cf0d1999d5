/** Maximum number of reasons that an answer stores. */
const REASONS_MAX = 8;

/** Answer to a question that cannot be decided because facts are missing. */
export class Unknown {
  /** Names of the missing facts, without duplicates. */
  readonly reasons: readonly string[];

  constructor(...reasons: readonly string[]) {
    this.reasons = reasons;
  }

  /** Returns an unknown answer with the reasons of both. */
  with(other: Unknown): Unknown {
    if (this === other) return this;
    return new Unknown(...[...new Set([...this.reasons, ...other.reasons])].slice(0, REASONS_MAX));
  }
}

/**
 * An answer in Kleene's three-valued logic. Additional facts can turn unknown into true or false, but never true into
 * false or vice versa.
 */
export type Answer = boolean | Unknown;

export function and(a: Answer, b: Answer): Answer {
  if (a === false || b === false) return false;
  if (a === true) return b;
  return b === true ? a : a.with(b);
}

/** Whether the answer is true for at least one item. */
export function some<T>(items: readonly T[], ask: (item: T) => Answer): Answer {
  let result: Answer = false;
  for (const item of items) {
    const answer = ask(item);
    if (answer === true) return true;
    if (answer !== false) result = result === false ? answer : result.with(answer);
  }
  return result;
}

/** Whether the answer is true for every item. */
export function every<T>(items: readonly T[], ask: (item: T) => Answer): Answer {
  let result: Answer = true;
  for (const item of items) {
    result = and(result, ask(item));
    if (result === false) return false;
  }
  return result;
}
