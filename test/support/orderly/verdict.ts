import type { Freed } from './frees.ts';
import { type Played, total } from './theatre.ts';

const sum = (rows: readonly Freed[]) => rows.reduce((count, row) => count + row.count, 0);

/**
 * Differences between the counts during a pattern and what they must be; empty where there are none.
 * @param wanted drops: 0 where nothing was lost, or where this kernel cannot tell
 */
export function faultsOf(played: Played, wanted: 0 | 1): string[] {
  const { drops, discards, ofNode, frees, strayFrees, warnings } = played;
  const counted = total(drops) + total(discards);
  const [known, stray] = [sum(frees), sum(strayFrees)];
  const faults: string[] = [];
  if (total(drops) !== wanted) faults.push(`${total(drops)} drops instead of ${wanted}: ${JSON.stringify(drops)}`);
  // A packet without its device and socket counts for the namespace of the process, or for the node, where others may count too.
  if (counted < known || counted > known + stray || counted + ofNode < known + stray) {
    faults.push(`${counted} counted (the node: ${ofNode}), but ${known} freed and ${stray} astray`);
  }
  if (wanted === 0) faults.push(...warnings.map(({ type, message }) => `warning ${type}: ${message}`));
  if (faults.length > 0)
    faults.push(
      ...[...frees, ...strayFrees].map(({ count, reason, place }) => `freed: ${count} ${reason} in ${place}`),
    );
  return faults;
}

/** Share of all freed packets that the agent could put into no class. */
export class Unclassified {
  #freed = 0;
  #unclassified = 0;

  add({ frees, strayFrees, discards }: Played): void {
    this.#freed += sum(frees) + sum(strayFrees);
    this.#unclassified += discards['unclassified'] ?? 0;
  }

  get freed(): number {
    return this.#freed;
  }

  get share(): number {
    return this.#unclassified / this.#freed;
  }
}
