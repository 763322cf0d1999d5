import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import type { LooseEmit } from '#probe/metric.ts';
import { BOUND, HeldPage, pod } from '../../test/support/held_page.ts';
import { CountingScraper } from '../../test/support/scraper.ts';

/** A model of the Pods' counters, whose values the scrapers must receive. */
class Counted {
  readonly totals = new Map<string, number>();

  add(pod: number, label: string, more: number): void {
    const key = `${pod} ${label}`;
    this.totals.set(key, (this.totals.get(key) ?? 0) + more);
  }

  emit(emit: LooseEmit): void {
    const rows = [...this.totals].map(([key, total]) => ({
      id: Number(key.split(' ')[0]),
      label: key.split(' ')[1] ?? '',
      total,
    }));
    for (const { id, label, total } of rows) {
      const reason = { reason: label };
      emit('drops', asNetnsId(id), total, reason);
      emit('delay', asNetnsId(id), { counts: [total, 0, total], sum: 1 }, reason);
    }
    emit.rows(BOUND, rows, {
      subject: ({ id }) => asNetnsId(id),
      key: ({ label }) => label,
      labels: ({ label }) => ({ peer: label }),
      samples: ({ total }, put) => put('sent', total, {}),
    });
  }

  get sum(): number {
    return [...this.totals.values()].reduce((sum, total) => sum + total, 0);
  }
}

interface Burst {
  readonly afterMs: number;
  readonly pod: number;
  readonly label: number;
  readonly more: number;
  readonly isFailed: boolean;
}

interface Run {
  readonly intervals: readonly [number, number];
  readonly phases: readonly [number, number];
  readonly curlEveryMs: number;
  readonly bursts: readonly Burst[];
}

const RUN = fc.record<Run>({
  intervals: fc.constantFrom<Run['intervals']>([1_000, 1_000], [15_000, 15_000], [15_000, 30_000], [30_000, 30_000]),
  phases: fc.tuple(fc.integer({ min: 0, max: 30_000 }), fc.integer({ min: 0, max: 30_000 })),
  curlEveryMs: fc.integer({ min: 500, max: 40_000 }),
  bursts: fc.array(
    fc.record({
      afterMs: fc.integer({ min: 0, max: 20_000 }),
      pod: fc.integer({ min: 1, max: 3 }),
      label: fc.integer({ min: 0, max: 4 }),
      more: fc.integer({ min: 1, max: 1_000 }),
      isFailed: fc.boolean(),
    }),
    { minLength: 1, maxLength: 12 },
  ),
});

/**
 * Simulates two Prometheus servers and a user with curl, from the first burst until every value is shown. Returns what
 * each of them has received.
 * @param isTold whether the agent uses the times of the pages that the two servers saw last
 */
async function run(
  { intervals, phases, curlEveryMs, bursts }: Run,
  view: (hold: number) => number | undefined,
  isTold = false,
) {
  const seenMs: (number | undefined)[] = [undefined, undefined];
  const oldest = () => {
    const [first, second] = seenMs;
    return isTold && first !== undefined && second !== undefined ? Math.min(first, second) : undefined;
  };
  const held = new HeldPage();
  held.aggregator.entities.set([pod(1), pod(2), pod(3)]);
  const holdMs = 1.25 * Math.max(...intervals) + 1_000;
  const servers = [new CountingScraper(), new CountingScraper()] as const;
  const curl = new CountingScraper();
  const counted = new Counted();
  const dueMs = intervals.map((interval, nth) => (phases[nth] ?? 0) % interval);
  let curlMs = curlEveryMs;
  const until = async (endMs: number) => {
    for (;;) {
      const next = Math.min(...dueMs, curlMs);
      if (next > endMs) break;
      held.nowMs = next;
      held.collect((emit) => counted.emit(emit));
      for (const [nth, interval] of intervals.entries()) {
        if (dueMs[nth] !== next) continue;
        const shown = await held.render(view(holdMs), oldest());
        servers[nth]?.scrape(shown);
        // A page is rendered shortly after its collection is committed.
        seenMs[nth] = held.nowMs + 0.5;
        dueMs[nth] = next + interval;
      }
      if (curlMs !== next) continue;
      const plain = await held.render();
      curl.scrape(plain);
      curlMs += curlEveryMs;
      const shown = plain.samples.filter(({ name }) => name === 'netsonde_drops_total');
      expect(shown.reduce((sum, { value }) => sum + Number(value), 0)).toBe(counted.sum);
    }
    held.nowMs = endMs;
  };
  for (const { afterMs, pod: id, label, more, isFailed } of bursts) {
    await until(held.nowMs + afterMs);
    counted.add(id, `r${label}`, more);
    if (isFailed) held.collect((emit) => counted.emit(emit), false);
  }
  await until(held.nowMs + 2 * holdMs + 2 * Math.max(...intervals));
  return { servers, curl, counted };
}

describe('the increases that scrapers see', () => {
  it('equal the counts, for both, at any intervals and phases, even if others look in between', async () => {
    await fc.assert(
      fc.asyncProperty(RUN, async (given) => {
        const { servers, curl, counted } = await run(given, (holdMs) => holdMs);
        for (const server of servers) {
          expect(server.counted('netsonde_drops_total')).toBe(counted.sum);
          expect(server.counted('netsonde_sent_total')).toBe(counted.sum);
          expect(server.counted('netsonde_delay_count')).toBe(2 * counted.sum);
        }
        for (const { resets } of [...servers, curl]) expect(resets).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });

  it('equal the counts if a row gives its place away while it grows', async () => {
    const given: Run = {
      intervals: [15_000, 30_000],
      phases: [1_000, 22_000],
      curlEveryMs: 7_000,
      bursts: Array.from({ length: 120 }, (_, nth) => {
        const label = nth < 20 ? nth % 2 : nth % 3;
        return { afterMs: 5_000, pod: 1, label, more: label === 2 ? 500 : 10 + label, isFailed: false };
      }),
    };
    const { servers, counted } = await run(given, (holdMs) => holdMs);
    for (const server of servers) expect(server.counted('netsonde_sent_total')).toBe(counted.sum);
    expect(servers.map(({ seen }) => [...seen].filter((series) => series.includes('*moved-')).length > 0)).toEqual([
      true,
      true,
    ]);
  });

  it('miss every first value if a row is shown as it is', async () => {
    const burst = { afterMs: 500, pod: 1, label: 0, more: 197, isFailed: false };
    const given: Run = { intervals: [1_000, 1_000], phases: [0, 300], curlEveryMs: 900, bursts: [burst] };
    const { servers } = await run(given, () => undefined);
    expect(servers.map((server) => server.counted('netsonde_drops_total'))).toEqual([0, 0]);
  });
});
