import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import { shown, wholeLines } from './lines.ts';

/** Column that has the same value in each row. */
const ENTRIES = 'entries';
const HEXADECIMAL = /^[0-9a-f]+$/;

/**
 * Parses net/stat/nf_conntrack, and adds up the rows of the CPUs. The values have 32 bits. Kernel:
 * net/netfilter/nf_conntrack_standalone.c, ct_cpu_seq_show().
 */
export function parseConntrackStat(text: string, malformed: Malformed): Map<string, Counter> {
  const [header = '', ...rows] = wholeLines(text, malformed);
  const names = header.trim().split(/\s+/);
  const sums = new Map<string, number>();
  for (const row of rows) {
    const cells = row.trim().split(/\s+/);
    if (cells.length !== names.length || !cells.every((cell) => HEXADECIMAL.test(cell))) {
      malformed(shown(row));
      continue;
    }
    for (const [index, name] of names.entries()) {
      const value = Number.parseInt(cells[index] ?? '', 16);
      sums.set(name, name === ENTRIES ? value : (sums.get(name) ?? 0) + value);
    }
  }
  return sums;
}
