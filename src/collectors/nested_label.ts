import type { EdgeLayout } from './edge_layout.ts';
import { type Edge, type Nested, type Place, placeOf, type Slot } from './edge_slot.ts';
import { OVERFLOW } from './open_label.ts';
import { settle } from './ranking.ts';

/**
 * Limits the number of values of one joint label for each combination of the other joint labels. Values are ranked like
 * edges.
 */
export class NestedLabel {
  readonly #index: number;
  readonly #max: number;

  constructor({ index, max }: NonNullable<EdgeLayout['nested']>) {
    this.#index = index;
    this.#max = max;
  }

  /** Returns the entry for the label's value; undefined if the value is `*`. */
  valueOf({ nested }: Slot, own: Place): Nested | undefined {
    if (own.values[this.#index] === OVERFLOW) return undefined;
    const rest = placeOf(own.values.map((value, index) => (index === this.#index ? OVERFLOW : value)));
    let values = nested.get(rest.key);
    if (values === undefined) {
      values = new Map();
      nested.set(rest.key, values);
    }
    let found = values.get(own.key);
    if (found === undefined) {
      found = {
        own,
        rest,
        score: 0,
        isShown: false,
        leadsSinceMs: undefined,
        sealedMs: undefined,
        isNew: true,
        used: 0,
        bornAtZero: 0,
      };
      values.set(own.key, found);
    }
    return found;
  }

  age({ nested }: Slot, decay: number): void {
    for (const values of nested.values()) for (const value of values.values()) value.score *= decay;
  }

  /**
   * Selects the values that are shown.
   * @param max limit that replaces the limit of the descriptor
   * @param promote called for each value that becomes shown after it was counted under `*`; its edge competes with the
   * given score
   * @param mayLeave whether scrapers have seen all counts of an edge
   * @returns edges that were shown, but whose values are no longer shown
   */
  settle(
    slot: Slot,
    max: number | undefined,
    attempt: number,
    nowMs: number,
    promote: (place: Place, score: number) => void,
    mayLeave: (edge: Edge) => boolean,
  ): Edge[] {
    for (const { nested: value, gain } of slot.batch) {
      if (value === undefined) continue;
      value.score += gain;
      value.used = attempt;
    }
    const withdrawn: Edge[] = [];
    for (const values of slot.nested.values()) {
      dropUnused(slot, values, attempt);
      const { entered, left } = settle(values, max ?? this.#max, nowMs, ({ own }) => {
        const edge = slot.edges.get(own.key);
        return edge?.isShown !== true || mayLeave(edge);
      });
      for (const value of entered) {
        if (value.isNew) continue;
        value.bornAtZero = attempt;
        promote(value.own, value.score);
      }
      for (const { own } of left) withdrawn.push(...withdraw(slot, own));
      for (const value of values.values()) value.isNew = false;
    }
    dropEmpty(slot);
    return withdrawn;
  }
}

function dropEmpty({ nested }: Slot): void {
  // Usually, there is nothing to drop, and iterating only over the values does not allocate map entries.
  for (const { size } of nested.values()) {
    if (size > 0) continue;
    for (const [key, values] of nested) if (values.size === 0) nested.delete(key);
    return;
  }
}

/** Removes values that have no rows, unless their edge is shown. */
function dropUnused({ edges }: Slot, values: Map<string, Nested>, attempt: number): void {
  for (const { own, used, isShown } of values.values()) {
    if (used === attempt) continue;
    const holdsPlace = isShown && edges.get(own.key)?.isShown === true;
    if (!holdsPlace) values.delete(own.key);
  }
}

/** Removes an edge. Returns it if it was shown. */
function withdraw({ edges }: Slot, { key }: Place): Edge[] {
  const edge = edges.get(key);
  edges.delete(key);
  if (edge?.isShown !== true) return [];
  edge.isShown = false;
  return [edge];
}
