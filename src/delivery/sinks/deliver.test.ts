import fc from 'fast-check';
import { expect, it } from 'vitest';
import { makeLines } from '../../../test/support/event_lines.ts';
import type { LaneRecord } from '../record.ts';
import { Unavailable } from '../sink.ts';
import { Delivery, type Stream } from './deliver.ts';
import type { NotNow, Verdict } from './verdict.ts';

const notNow = (ofStream: boolean, isTooMuch: boolean): Verdict => ({
  is: 'not now',
  why: 'no',
  retryAfterMs: 0,
  ofStream,
  isTooMuch,
});

const VERDICTS: Readonly<Record<string, Verdict>> = {
  taken: { is: 'taken' },
  'taken but for one': { is: 'taken', refused: { count: 1, why: 'one' } },
  refused: { is: 'refused', why: 'bad' },
  'too large': { is: 'too large', why: 'large' },
  'stream, not now': notNow(true, false),
  'stream, too fast': notNow(true, true),
  'not now': notNow(false, false),
  'too fast': notNow(false, true),
};

const STEP = fc.record({
  /** Number of records in each stream. */
  streams: fc.array(fc.integer({ min: 1, max: 6 }), { maxLength: 9 }),
  /** Responses of the server. It returns them in this order, and then starts again with the first one. */
  verdicts: fc.array(fc.constantFrom(...Object.keys(VERDICTS)), { minLength: 1, maxLength: 6 }),
  ms: fc.integer({ min: 1, max: 40_000 }),
});

it('whatever is answered, a record that is not left over is delivered or refused once', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(STEP, { maxLength: 15 }), fc.integer({ min: 1, max: 4 }), async (steps, requestsMax) => {
      let nowMs = 0;
      let verdicts: readonly string[] = ['taken'];
      let asked = 0;
      const delivery = new Delivery({
        requestsMax,
        send: async () => VERDICTS[verdicts[asked++ % verdicts.length] ?? 'taken'] ?? { is: 'taken' },
        now: () => nowMs,
      });
      const open = new Map<LaneRecord, string>();
      const settle = (records: readonly LaneRecord[]) => {
        for (const record of records) expect(open.delete(record)).toBe(true);
      };
      let made = 0;
      const write = async (): Promise<boolean> => {
        const keys = [...new Set(open.values())];
        const streams: Stream[] = keys.map((key) => ({
          key,
          records: [...open].flatMap(([record, of]) => (of === key ? [record] : [])),
        }));
        try {
          await delivery.deliver(streams, { delivered: settle, rejected: settle }, new AbortController().signal);
          return true;
        } catch (error) {
          expect(error).toBeInstanceOf(Unavailable);
          return false;
        }
      };
      for (const step of steps) {
        nowMs += step.ms;
        verdicts = step.verdicts;
        step.streams.forEach((count, index) => {
          for (const record of makeLines(count, {}, made)) open.set(record, `stream ${index}`);
          made += count;
        });
        if (await write()) expect(open.size).toBe(0);
        else expect(open.size).toBeGreaterThan(0);
      }
      verdicts = ['taken'];
      expect(await write()).toBe(true);
      expect(open.size).toBe(0);
    }),
    { numRuns: 300 },
  );
});

it('records that it does not get to, because all others were refused, stay', async () => {
  let nowMs = 0;
  const refused = Array.from(
    { length: 8 },
    (_, index): Stream => ({
      key: `refused ${index}`,
      records: makeLines(1, { namespace: 'refused' }, index),
    }),
  );
  const good: Stream = { key: 'good', records: makeLines(1, { namespace: 'good' }, 9) };
  const delivery = new Delivery({
    requestsMax: 1,
    send: async ([record]) =>
      record?.stream['namespace'] === 'good' ? { is: 'taken' } : { ...(notNow(true, false) as NotNow), why: 'no' },
    now: () => nowMs,
  });
  const rejected: LaneRecord[] = [];
  const receipt = {
    delivered: () => undefined,
    rejected: (records: readonly LaneRecord[]) => void rejected.push(...records),
  };
  const write = (streams: readonly Stream[]) => delivery.deliver(streams, receipt, new AbortController().signal);
  for (; nowMs < 60_000; nowMs += 10_000) await expect(write([good, ...refused])).rejects.toThrow('no');
  expect(rejected).toEqual([]);
  // Five records are sent individually and rejected. The other three are then dropped without a request.
  await expect(write(refused)).rejects.toThrow('no');
  expect(rejected).toHaveLength(5);
});

it.each([
  [
    'one after the other',
    (owner: number) => (index: number) => makeLines(1, { pod: `pod ${owner}` }, index * 2 + owner),
  ],
  [
    'in long turns',
    (owner: number) => (index: number) =>
      makeLines(1, { pod: `pod ${owner}` }, index + (index >= 150 ? 1_000 : 0) + owner * 500),
  ],
])('refused records of one Pod cost another Pod none: %s', async (_, of) => {
  const [bad, good] = [0, 1].map((owner) => Array.from({ length: 300 }, (_, index) => of(owner)(index)).flat()) as [
    LaneRecord[],
    LaneRecord[],
  ];
  let requests = 0;
  const delivery = new Delivery({
    requestsMax: 1,
    send: async (records) => {
      requests++;
      return records.some(({ metadata }) => metadata['pod'] === 'pod 0')
        ? { is: 'refused', why: 'no' }
        : { is: 'taken' };
    },
  });
  const [delivered, rejected]: [LaneRecord[], LaneRecord[]] = [[], []];
  const receipt = {
    delivered: (records: readonly LaneRecord[]) => void delivered.push(...records),
    rejected: (records: readonly LaneRecord[]) => void rejected.push(...records),
  };
  const records = [...bad, ...good].sort((a, b) => (a.timeNs < b.timeNs ? -1 : 1));
  await delivery.deliver([{ key: '', records }], receipt, new AbortController().signal);
  expect(new Set(delivered)).toEqual(new Set(good));
  expect(new Set(rejected)).toEqual(new Set(bad));
  expect(requests).toBeLessThan(500);
});
