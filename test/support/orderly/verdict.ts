import type { Freed } from './frees.ts';
import { type Played, total } from './theatre.ts';

const sum = (rows: readonly Freed[]) => rows.reduce((count, row) => count + row.count, 0);

/**
 * Returns the differences between the counts of a pattern and the expected counts; empty if there are none.
 * @param wanted expected number of drops; 0 if nothing was lost or this kernel cannot distinguish the loss
 * @param isTwin whether the twin was played, which may cause warnings
 */
export function faultsOf(played: Played, wanted: 0 | 1, isTwin: boolean): string[] {
  const { drops, discards, ofNode, frees, strayFrees, warnings } = played;
  const counted = total(drops) + total(discards);
  const [known, stray] = [sum(frees), sum(strayFrees)];
  const faults: string[] = [];
  if (total(drops) !== wanted) faults.push(`${total(drops)} drops instead of ${wanted}: ${JSON.stringify(drops)}`);
  // If a packet has neither a device nor a socket, the agent counts it for the namespace of the current process or for
  // the node. The node's count also includes packets of other programs.
  if (counted < known || counted > known + stray || counted + ofNode < known + stray) {
    faults.push(`${counted} counted (the node: ${ofNode}), but ${known} freed and ${stray} astray`);
  }
  if (!isTwin) faults.push(...warnings.map(({ type, message }) => `warning ${type}: ${message}`));
  if (faults.length > 0)
    faults.push(
      ...[...frees, ...strayFrees].map(({ count, reason, place }) => `freed: ${count} ${reason} in ${place}`),
    );
  return faults;
}

/** Computes the share of freed packets that the agent could not classify. */
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
