import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import { shown, wholeLines } from './lines.ts';
import { parseCounter } from './number.ts';

/** Numbers by line and name: `TCP` → `inuse` → 5. */
export type Sockstat = Map<string, Map<string, Counter>>;

/**
 * Parses net/sockstat and net/sockstat6, which have lines such as `TCP: inuse 5 orphan 0 tw 0 alloc 6 mem 1`. Kernel:
 * net/ipv4/proc.c, sockstat_seq_show(); net/ipv6/proc.c, sockstat6_seq_show().
 *
 * `used`, `inuse`, `tw` and FRAG are counted by namespace. `orphan`, `alloc` and `mem` are counted for the whole
 * machine and shown in every namespace.
 */
export function parseSockstat(text: string, malformed: Malformed): Sockstat {
  const stat: Sockstat = new Map();
  for (const line of wholeLines(text, malformed)) {
    const colon = line.indexOf(': ');
    if (colon <= 0) {
      malformed(shown(line));
      continue;
    }
    const cells = line.slice(colon + 2).split(' ');
    const numbers = new Map<string, Counter>();
    for (let index = 0; index < cells.length; index += 2) {
      const value = parseCounter(cells[index + 1] ?? '');
      if (value === undefined) malformed(shown(line));
      else numbers.set(cells[index] ?? '', value);
    }
    stat.set(line.slice(0, colon), numbers);
  }
  return stat;
}
