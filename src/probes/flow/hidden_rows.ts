import type { FlowRow } from '#probe/flow_row.ts';
import { SELF_PEER } from '#probe/peers.ts';

/**
 * Removes rows of connections from an entity to its own addresses, and counts the bytes that these connections sent.
 */
export class HiddenRows {
  readonly #counted: (row: FlowRow) => void;
  readonly #isHiding: boolean;
  readonly #sent = new WeakMap<FlowRow, number>();
  #sentBytes = 0;

  /**
   * @param isHiding false if no rows are to be removed
   * @param counted called with each removed row that has ended
   */
  constructor(isHiding: boolean, counted: (row: FlowRow) => void) {
    this.#isHiding = isHiding;
    this.#counted = counted;
  }

  /** Number of payload bytes that removed rows have sent. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** Removes rows and counts their bytes. Returns the rows to show. */
  remove(rows: readonly FlowRow[]): readonly FlowRow[] {
    return this.#isHiding ? rows.filter((row) => row.identity !== SELF_PEER || !this.#hide(row)) : rows;
  }

  #hide(row: FlowRow): boolean {
    const sent = row.count('sent_bytes');
    this.#sentBytes += sent - (this.#sent.get(row) ?? 0);
    this.#sent.set(row, sent);
    if (row.isLast) this.#counted(row);
    return true;
  }
}
