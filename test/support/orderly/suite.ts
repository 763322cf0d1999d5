import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CATALOGUE, isFor, PATTERNS, type Pattern } from './catalogue.ts';
import { Kernel } from './needs.ts';
import { openTheatres, type Theatre } from './theatre.ts';
import { faultsOf, Unclassified } from './verdict.ts';

/** Maximum share of unclassified packets in percent. */
const UNCLASSIFIED_MAX = 1;

/** Defines tests for the chosen patterns of the catalogue. Each test plays IPv4 and IPv6 at the same time. */
export function testPatterns(isChosen: (pattern: Pattern) => boolean): void {
  const resources = new AsyncDisposableStack();
  const unclassified = new Unclassified();
  const kernel = new Kernel();
  let theatres: readonly Theatre[] = [];

  beforeAll(async () => {
    theatres = await openTheatres(resources);
  });

  afterAll(() => resources.disposeAsync());

  const play = async (pattern: Pattern, twin: boolean) => {
    const faults: Record<string, readonly string[]> = {};
    for (const result of await Promise.allSettled(
      theatres
        .filter(({ family }) => isFor(pattern, family))
        .map(async (theatre) => ({ family: theatre.family, played: await theatre.play(pattern.id, twin) })),
    )) {
      // Waits for both families with allSettled() so that the test does not fail while the pattern is still running
      // for one of them.
      if (result.status === 'rejected') throw result.reason;
      const { family, played } = result.value;
      unclassified.add(played);
      faults[family] = faultsOf(played, twin ? 1 : 0, twin);
    }
    return faults;
  };

  for (const { title, patterns } of CATALOGUE) {
    const chosen = patterns.filter((pattern) => isChosen(pattern) && kernel.plays(pattern));
    describe.runIf(chosen.length > 0)(title, () => {
      it.each(chosen.map((pattern) => [pattern.title, pattern] as const))('%s', async (_, pattern) => {
        const none = Object.fromEntries(
          theatres.filter(({ family }) => isFor(pattern, family)).map(({ family }) => [family, []]),
        );
        expect(await play(pattern, false), 'nothing is lost').toEqual(none);
        expect(await play(pattern, true), pattern.twin.words).toEqual(none);
      });
    });
  }

  it('can play each pattern', () => {
    const ids = PATTERNS.map(({ id }) => id).sort();
    for (const { patterns } of theatres) expect(patterns).toEqual(expect.arrayContaining(ids));
  });

  it('classifies nearly all packets that the kernel freed', () => {
    expect(unclassified.freed).toBeGreaterThan(0);
    expect(100 * unclassified.share).toBeLessThanOrEqual(UNCLASSIFIED_MAX);
  });
}
