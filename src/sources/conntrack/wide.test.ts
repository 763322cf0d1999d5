import fc from 'fast-check';
import { expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { attribute, join, message, numbers } from '../../../test/support/netlink.ts';
import { decodeCpuStats } from '../netlink/conntrack.ts';
import { WideCounters } from './wide.ts';

const WRAP = 2 ** 32;
const CPU_STATS = 0x104;
const CTA_STATS_DROP = 10;
const [NETNS, OTHER] = [asNetnsId(7), asNetnsId(8)];

const share = fc.oneof(
  fc.integer({ min: WRAP - 100, max: WRAP - 1 }),
  fc.nat(1000),
  fc.integer({ min: 0, max: WRAP - 1 }),
);
const cpus = fc.array(share, { minLength: 1, maxLength: 24 });
/** Generates the amounts by which the CPUs' counters increase between readings. */
const growths = fc.array(fc.array(fc.nat(100_000), { minLength: 24, maxLength: 24 }), { maxLength: 10 });

/** Returns a ctnetlink response with one 32-bit counter for each CPU. */
function answer(shares: readonly number[]): Uint8Array {
  const messages = shares.map((value) => {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, value, false);
    return message(CPU_STATS, join(numbers(0), attribute(CTA_STATS_DROP, bytes)));
  });
  return join(...messages);
}

it('grows by what was counted, even if some shares wrap meanwhile', () => {
  fc.assert(
    fc.property(cpus, growths, (first, steps) => {
      const wide = new WideCounters();
      let shares = first;
      const read = () => wide.widen(NETNS, decodeCpuStats(answer(shares), () => undefined) ?? {}).drop;
      let expected = first.reduce((sum, value) => sum + value, 0);
      expect(read()).toBe(expected);
      for (const growth of steps) {
        shares = shares.map((value, cpu) => (value + (growth[cpu] ?? 0)) % WRAP);
        expected += shares.reduce((sum, _, cpu) => sum + (growth[cpu] ?? 0), 0);
        expect(read()).toBe(expected);
      }
    }),
  );
});

it('does not fall by 2^32 if one share of two wraps', () => {
  const wide = new WideCounters();
  expect(wide.widen(NETNS, { drop: WRAP - 1 + 5 }).drop).toBe(WRAP + 4);
  expect(wide.widen(NETNS, { drop: 0 + 6 }).drop).toBe(WRAP + 6);
});

it('keeps namespaces apart, omits a counter that the kernel lacks, and forgets the dead', () => {
  const wide = new WideCounters();
  wide.widen(NETNS, { drop: WRAP - 1 });
  expect(wide.widen(OTHER, { drop: 3 })).toEqual({ drop: 3 });
  expect(wide.widen(NETNS, { drop: 0, error: 9 })).toEqual({ drop: WRAP, error: 9 });
  wide.sweep((id) => id === NETNS);
  expect(wide.widen(NETNS, { drop: 1 })).toEqual({ drop: 1 });
  expect(wide.widen(OTHER, { drop: 4 })).toEqual({ drop: 4 });
});

it('knows which namespaces have counted, and shows the same if the others were left out', () => {
  const wide = new WideCounters();
  expect(wide.knows(NETNS)).toBe(false);
  expect(wide.widen(NETNS, { drop: 3 })).toEqual({ drop: 3 });
  expect(wide.knows(NETNS)).toBe(true);
  const told = new WideCounters();
  told.widen(NETNS, { drop: 0 });
  expect(told.widen(NETNS, { drop: 3 })).toEqual({ drop: 3 });
  wide.sweep(() => true);
  expect(wide.knows(NETNS)).toBe(false);
});
