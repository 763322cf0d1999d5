import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { DropReason } from '#api/words.ts';
import { RECORD_KINDS } from '#events/kinds.ts';
import { Files } from '#files/files.ts';
import { makeLines, messages } from '../../test/support/event_lines.ts';
import { eventually } from '../../test/support/oracle.ts';
import { MemoryBuffer } from './buffer.ts';
import { Ledger } from './ledger.ts';
import type { LaneRecord, Source } from './record.ts';
import { type Receipt, type Sink, Unavailable } from './sink.ts';
import { type BatchOptions, SinkQueue } from './sink_queue.ts';
import { Spool } from './spool.ts';

class FakeSink implements Sink {
  readonly name = 'fake';
  readonly written: LaneRecord[] = [];
  readonly batches: number[] = [];
  act: (batch: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal) => Promise<void> = async () => undefined;

  async write(batch: readonly LaneRecord[], receipt: Receipt, signal: AbortSignal): Promise<void> {
    this.batches.push(batch.length);
    await this.act(batch, receipt, signal);
    this.written.push(...batch);
  }

  async close(): Promise<void> {}
}

let sink: FakeSink;
let ledger: Ledger;
let logged: string[];

beforeEach(() => {
  sink = new FakeSink();
  ledger = new Ledger();
  logged = [];
});

const FAKE = { name: 'fake', kinds: new Set(['event']) };
const PACKETLOSS = { kind: 'event', probe: 'packetloss' };
const ONE = { kind: 'event', probe: 'one' };

afterEach(() => void vi.useRealTimers());

/** Replaces the timers and clocks with fake ones that the test advances. */
function stopTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance', 'Date'] });
}

const MEBIBYTE = 1024 * 1024;

function queue(capacity = 1_000, batch: Partial<BatchOptions> = {}, bytes = 16 * MEBIBYTE): SinkQueue {
  const buffer = new MemoryBuffer({ records: capacity, bytes }, (records, reason) => {
    for (const record of records) ledger.dropped(record, 'fake', reason);
  });
  return new SinkQueue(
    sink,
    buffer,
    { records: 500, bytes: MEBIBYTE, ageMs: 0, ...batch },
    { name: 'fake', ledger, log: (_, message) => logged.push(message) },
  );
}

function row() {
  const [only] = ledger.rows([FAKE]);
  return { delivered: only?.delivered, pending: only?.pending, dropped: Object.fromEntries(only?.dropped ?? []) };
}

/** Returns a gate. A write that waits for `passed` continues when `open` is called. */
function gate(): { passed: Promise<void>; open: () => void } {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { passed: promise, open: resolve };
}

it('delivers everything in order', async () => {
  const sent = makeLines(2_345);
  const under = queue(10_000);
  under.offer(sent);
  await eventually(() => expect(sink.written).toEqual(sent));
  expect(row()).toEqual({ delivered: 2_345, pending: 0, dropped: {} });
});

it('waits until a batch is large or old enough', async () => {
  stopTime();
  const under = queue(1_000, { records: 10, ageMs: 300 });
  under.offer(makeLines(4));
  await vi.advanceTimersByTimeAsync(50);
  under.offer(makeLines(6, {}, 4));
  await vi.advanceTimersByTimeAsync(0);
  expect(sink.batches).toEqual([10]);
  under.offer(makeLines(3, {}, 10));
  await vi.advanceTimersByTimeAsync(50);
  under.offer(makeLines(1, {}, 13));
  await vi.advanceTimersByTimeAsync(249);
  expect(sink.batches).toEqual([10]);
  await vi.advanceTimersByTimeAsync(1);
  expect(sink.batches).toEqual([10, 4]);
  under.offer(makeLines(3, { message: 'x'.repeat(MEBIBYTE / 2) }));
  await vi.advanceTimersByTimeAsync(0);
  expect(sink.batches).toEqual([10, 4, 1, 1]);
  await vi.advanceTimersByTimeAsync(300);
  expect(sink.batches).toEqual([10, 4, 1, 1, 1]);
});

it('drops the oldest records when a slow sink lets the queue fill up, and counts them', async () => {
  const { passed, open } = gate();
  sink.act = () => passed;
  const under = queue(10);
  const sent = makeLines(600);
  under.offer(sent.slice(0, 5));
  await wait(1);
  under.offer(sent.slice(5));
  expect(row()).toEqual({ delivered: 0, pending: 10, dropped: { queue_full: 590 } });
  open();
  await eventually(() => expect(row()).toEqual({ delivered: 10, pending: 0, dropped: { queue_full: 590 } }));
  expect(messages(sink.written)).toEqual(messages([...sent.slice(0, 5), ...sent.slice(-5)]));
});

it('respects its limit of bytes as well', async () => {
  const { passed, open } = gate();
  sink.act = () => passed;
  const lines = makeLines(100, { message: 'x'.repeat(1_000) });
  const each = lines[0]?.bytes ?? 0;
  const under = queue(1_000, { records: 1 }, 20 * each);
  under.offer(lines);
  await wait(1);
  expect(under.status()).toMatchObject({ pending: 20, pendingBytes: 20 * each });
  open();
  await eventually(() => expect(row()).toEqual({ delivered: 20, pending: 0, dropped: { queue_full: 80 } }));
});

describe('a sink that fails', () => {
  it('is retried with all records that it has not taken, in order, and shows why in the meantime', async () => {
    let tries = 0;
    sink.act = async (batch, receipt) => {
      tries++;
      if (tries > 2) return;
      sink.written.push(...batch.slice(0, 2));
      receipt.delivered(batch.slice(0, 2));
      throw new Unavailable('no room');
    };
    const under = queue();
    under.offer(makeLines(7));
    await eventually(() => expect(row()).toEqual({ delivered: 2, pending: 5, dropped: {} }));
    expect(under.status()).toMatchObject({ state: 'failed', reason: 'no room', pending: 5, until: expect.any(String) });
    await eventually(() => expect(row()).toEqual({ delivered: 7, pending: 0, dropped: {} }));
    expect(messages(sink.written)).toEqual(messages(makeLines(7)));
    expect(under.status()).toMatchObject({ state: 'running', reason: '', retries: 2, until: null });
    // If a failure repeats, it is logged only once.
    expect(logged).toEqual(['events do not reach fake: no room', expect.stringMatching(/^events reach fake again/)]);
  });

  it('is left alone for as long as it asks', async () => {
    let tries = 0;
    sink.act = async () => {
      if (++tries === 1) throw new Unavailable('busy', 1_000);
    };
    stopTime();
    queue().offer(makeLines(1));
    await vi.advanceTimersByTimeAsync(999);
    expect(row()).toMatchObject({ delivered: 0, pending: 1 });
    // The delay is random and up to 10 % longer, so agents do not all retry at the same time.
    await vi.advanceTimersByTimeAsync(101);
    expect(row()).toMatchObject({ delivered: 1, pending: 0 });
  });

  it.each([
    ['back', -3_600_000],
    ['forward', 3_600_000],
  ])(
    'is retried in time, and the log says how long it failed, when the wall clock is set an hour %s',
    async (_, byMs) => {
      let tries = 0;
      sink.act = async () => {
        if (++tries === 1) throw new Unavailable('busy', 10_000);
      };
      stopTime();
      queue().offer(makeLines(1));
      await vi.advanceTimersByTimeAsync(5_000);
      vi.setSystemTime(Date.now() + byMs);
      await vi.advanceTimersByTimeAsync(4_999);
      expect(row()).toMatchObject({ delivered: 0, pending: 1 });
      await vi.advanceTimersByTimeAsync(1_001);
      expect(row()).toMatchObject({ delivered: 1, pending: 0 });
      expect(logged[1]).toMatch(/^events reach fake again, after 1[01] s$/);
    },
  );

  it('drops records that no retry will deliver: single events, or a batch that we cannot write', async () => {
    sink.act = async (batch, receipt) => {
      if (batch.length === 3) receipt.rejected(batch.slice(1, 2), 'too old');
      else throw new TypeError('ours');
    };
    const under = queue();
    under.offer(makeLines(3));
    await eventually(() => expect(row()).toEqual({ delivered: 2, pending: 0, dropped: { rejected: 1 } }));
    expect(under.status()).toMatchObject({ state: 'running', rejected: { why: 'too old' } });
    under.offer(makeLines(2));
    await eventually(() =>
      expect(row()).toEqual({ delivered: 2, pending: 0, dropped: { rejected: 1, write_failed: 2 } }),
    );
    expect(logged).toHaveLength(2);
  });

  it('hands the waiting records to its replacement', async () => {
    sink.act = async () => {
      throw new Unavailable('wrong address');
    };
    const under = queue();
    const sent = makeLines(20);
    under.offer(sent);
    await eventually(() => expect(under.status().state).toBe('failed'));
    const other = new FakeSink();
    await under.replace(other, { records: 500, bytes: MEBIBYTE, ageMs: 0 });
    await eventually(() => expect(other.written).toEqual(sent));
    expect(row()).toEqual({ delivered: 20, pending: 0, dropped: {} });
  });

  it('keeps records that arrive while one buffer replaces another', async () => {
    sink.act = async () => {
      throw new Unavailable('wrong address');
    };
    const under = queue();
    under.offer(makeLines(5));
    await eventually(() => expect(under.status().state).toBe('failed'));
    const other = new FakeSink();
    await under.replace(other, { records: 500, bytes: MEBIBYTE, ageMs: 0 }, async (buffer) => {
      const waiting = await buffer.drain();
      under.offer(makeLines(3, {}, 5));
      await wait(20);
      under.offer(makeLines(12_000, {}, 8));
      const next = new MemoryBuffer({ records: 20_000, bytes: 16 * MEBIBYTE }, () => undefined);
      next.push(waiting);
      return next;
    });
    await eventually(() => expect(row()).toEqual({ delivered: 10_005, pending: 0, dropped: { queue_full: 2_003 } }));
    expect(messages(other.written)).toEqual(messages(makeLines(10_005)));
  });

  it('hands on records of a write that hangs, and does not count them twice when it returns', async () => {
    const { passed, open } = gate();
    sink.act = () => passed;
    const under = queue();
    under.offer(makeLines(20));
    await wait(1);
    const other = new FakeSink();
    await under.replace(other, { records: 500, bytes: MEBIBYTE, ageMs: 0 });
    await eventually(() => expect(row()).toEqual({ delivered: 20, pending: 0, dropped: {} }));
    open();
    await wait(20);
    under.offer(makeLines(1, {}, 20));
    await eventually(() => expect(other.written).toHaveLength(21));
    expect(row()).toEqual({ delivered: 21, pending: 0, dropped: {} });
  });
});

/**
 * Time limit in milliseconds for closing. It is long because a busy machine needs more time to write the remaining
 * records.
 */
const SLOW_CLOSE_MS = 30_000;

/** A step of the simulation: new events, and the sink's response to the next write. */
const STEP = fc.record({
  events: fc.integer({ min: 0, max: 40 }),
  outcome: fc.constantFrom('takes', 'fails', 'fails late', 'rejects some', 'breaks', 'is replaced'),
});

it.each(['memory', 'spool'])(
  'whatever a sink does, each event is delivered, dropped or pending exactly once: in %s',
  async (kind) => {
    await fc.assert(
      fc.asyncProperty(fc.array(STEP, { maxLength: 12 }), async (steps) => {
        await using folder = await mkdtempDisposable(join(tmpdir(), 'queue-'));
        const counts = new Ledger();
        const dropped = (source: Source, reason: DropReason, count: number) =>
          counts.dropped(source, 'fake', reason, count);
        const memory = { records: 60, bytes: MEBIBYTE };
        const buffer =
          kind === 'memory'
            ? new MemoryBuffer(memory, (records, reason) => dropped(PACKETLOSS, reason, records.length))
            : await Spool.open({
                directory: folder.path,
                size: MEBIBYTE,
                memory,
                kinds: RECORD_KINDS,
                files: new Files(),
                dropped,
                recovered: () => undefined,
                log: () => undefined,
              });
        const taken: LaneRecord[] = [];
        let outcome = 'takes';
        const fake = new FakeSink();
        fake.act = async (batch, receipt) => {
          const [first, rest] = [batch.slice(0, 3), batch.slice(3)];
          if (outcome === 'breaks') throw new TypeError('ours');
          if (outcome === 'fails') throw new Unavailable('no');
          if (outcome === 'rejects some') receipt.rejected(first, 'bad');
          else taken.push(...first);
          if (outcome === 'fails late') {
            receipt.delivered(first);
            throw new Unavailable('no more');
          }
          taken.push(...rest);
        };
        const options = { records: 10, bytes: MEBIBYTE, ageMs: 0 };
        const under = new SinkQueue(fake, buffer, options, { name: 'fake', ledger: counts, log: () => undefined });
        let offered = 0;
        for (const step of steps) {
          outcome = step.outcome;
          under.offer(makeLines(step.events, {}, offered));
          offered += step.events;
          await wait(2);
          if (step.outcome === 'is replaced') await under.replace(fake, options);
          const [known] = counts.rows([FAKE]);
          expect(known?.pending ?? 0).toBe(under.status().pending);
        }
        outcome = 'takes';
        await under.close(SLOW_CLOSE_MS);
        const [end] = counts.rows([FAKE]);
        const lost = [...(end?.dropped.values() ?? [])].reduce((sum, count) => sum + count, 0);
        expect(end?.pending ?? 0).toBe(0);
        expect((end?.delivered ?? 0) + lost).toBe(offered);
        expect(taken).toHaveLength(end?.delivered ?? 0);
        expect(new Set(messages(taken)).size).toBe(taken.length);
      }),
      { numRuns: 30 },
    );
  },
);

it('writes the rest when it closes, within the time it is given', async () => {
  const fast = queue(1_000, { ageMs: 60_000 });
  fast.offer(makeLines(700));
  await fast.close(1_000);
  expect(row()).toEqual({ delivered: 700, pending: 0, dropped: {} });
  sink.act = () => new Promise(() => undefined);
  const slow = queue();
  slow.offer(makeLines(600));
  await slow.close(20);
  expect(row()).toEqual({ delivered: 700, pending: 0, dropped: { shutdown: 600 } });
});

it('the ledger of a sink that did not exist all the time balances as well', () => {
  for (let count = 0; count < 5; count++) ledger.published(ONE);
  ledger.accepted(ONE, 'fake');
  ledger.accepted(ONE, 'fake');
  ledger.delivered(ONE, 'fake');
  ledger.recovered(ONE, 'fake', 7);
  expect(ledger.rows([FAKE])).toEqual([
    { ...ONE, sink: 'fake', delivered: 1, pending: 8, recovered: 7, dropped: new Map([['not_configured', 3]]) },
  ]);
});
