import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type BpfObject, BpfRing, type RingOptions } from '../lib/index.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject } from './support/objects.ts';

const INTERVAL_MS = 25;
/** First two pauses between drains after a flow starts. */
const FIRST_MS = 1;
const SECOND_MS = 5;
/** Time after which a flow has ended if its records were all read at once. */
const ENDED_MS = FIRST_MS + SECOND_MS + INTERVAL_MS;
const HOUR_MS = 3_600_000;
/** Number of event loop turns after which all pending notifications have been delivered. */
const TURNS = 50;

expectNothingLeft();

let object: BpfObject;
/** Numbers of the records that the rings of a test delivered. */
let numbers: number[];
let errors: unknown[];
beforeEach(async () => {
  numbers = [];
  errors = [];
  object = await loadObject('ring', ['emit', 'emit_waking']);
  // Only the clock of the rings is simulated; the event loop and the kernel are real.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
  object.close();
  expect(errors).toEqual([]);
});

function emit(count: number, bytes = 0): number {
  return object.run('emit_waking', BigUint64Array.of(BigInt(count), BigInt(bytes)));
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function openRing(options: Partial<RingOptions> = {}): BpfRing {
  return new BpfRing(object, 'records', {
    recordBytesMax: 256,
    wakeBy: 'adaptive',
    intervalMs: INTERVAL_MS,
    bufferBytes: 4096,
    onBatch: ({ view, forEach }) => forEach((at) => numbers.push(view.getUint32(at, true))),
    onError: (error) => errors.push(error),
    ...options,
  });
}

async function turnsOfTheLoop(count = TURNS): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits without advancing the clock, so that only notifications from the kernel can deliver records. */
async function untilTaken(count: number): Promise<void> {
  while (numbers.length < count) await turnsOfTheLoop(1);
}

/** Starts a flow with two records in quick succession. After that, the timer drains the ring. */
async function beginFlow(): Promise<void> {
  await turnsOfTheLoop(3);
  emit(1);
  await untilTaken(1);
  // After the drain of the first record, another drain finds nothing.
  await turnsOfTheLoop(3);
  emit(1);
  await turnsOfTheLoop();
}

describe('while records are rare', () => {
  it('each record is delivered on arrival, with one wake-up and no timer', async () => {
    using ring = openRing();
    await turnsOfTheLoop();
    for (let count = 1; count <= 20; count++) {
      emit(1);
      await untilTaken(count);
      await turnsOfTheLoop(3);
      expect(vi.getTimerCount()).toBe(0);
      vi.advanceTimersByTime(INTERVAL_MS);
    }
    expect(numbers).toEqual(upTo(20));
    expect(ring.wakeUps).toBe(20);
  });

  it('there are no wake-ups for an hour without records, and the next record is delivered on arrival', async () => {
    using ring = openRing();
    await beginFlow();
    vi.advanceTimersByTime(ENDED_MS);
    await turnsOfTheLoop();
    const { wakeUps } = ring;
    for (let hours = 0; hours < 1; hours += 0.1) {
      vi.advanceTimersByTime(HOUR_MS / 10);
      await turnsOfTheLoop();
    }
    expect(ring.wakeUps).toBe(wakeUps);
    emit(1);
    await untilTaken(3);
    expect(ring.wakeUps).toBe(wakeUps + 1);
  });

  it('a burst that is longer than its buffer is delivered immediately', async () => {
    using ring = openRing();
    await turnsOfTheLoop();
    emit(1000);
    await untilTaken(1000);
    expect(numbers).toEqual(upTo(1000));
    expect(ring.wakeUps).toBe(1);
  });
});

describe('while records flow', () => {
  it('they wait for the timer, and the kernel reports none', async () => {
    using ring = openRing();
    await beginFlow();
    expect(numbers).toEqual([0]);
    let sent = 2;
    for (const pauseMs of [FIRST_MS, SECOND_MS, ...Array<number>(40).fill(INTERVAL_MS)]) {
      const { wakeUps } = ring;
      const taken = numbers.length;
      for (let count = 0; count < 5; count++) {
        emit(1);
        sent++;
        await turnsOfTheLoop(3);
      }
      vi.advanceTimersByTime(pauseMs - 1);
      expect(numbers).toHaveLength(taken);
      vi.advanceTimersByTime(1);
      expect(numbers).toEqual(upTo(sent));
      expect(ring.wakeUps).toBe(wakeUps + 1);
    }
  });

  it('a drain by the timer that finds nothing ends the flow', async () => {
    using ring = openRing();
    await beginFlow();
    vi.advanceTimersByTime(FIRST_MS);
    expect(numbers).toEqual([0, 1]);
    // The flow continues for an interval after the last records.
    vi.advanceTimersByTime(SECOND_MS);
    await turnsOfTheLoop();
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(INTERVAL_MS);
    await turnsOfTheLoop();
    expect(vi.getTimerCount()).toBe(0);
    emit(1);
    await untilTaken(3);
    expect(ring.wakeUps).toBe(6);
  });

  it('a record between the last drain and the wait for notifications is delivered', async () => {
    using _ring = openRing();
    await beginFlow();
    vi.advanceTimersByTime(ENDED_MS);
    // This record is written in the same turn of the event loop, before the loop waits.
    emit(1);
    await untilTaken(3);
    expect(numbers).toEqual([0, 1, 2]);
  });

  it('records that do not fit into the buffer are read in the next turns, not at the next interval', async () => {
    using _ring = openRing();
    await beginFlow();
    emit(1000);
    vi.advanceTimersByTime(INTERVAL_MS);
    await untilTaken(1002);
    expect(numbers).toEqual(upTo(1002));
  });
});

it('loses no record and delivers none twice, for any timing of records', async () => {
  using ring = openRing();
  let sent = 0;
  for (let round = 0; round < 400; round++) {
    const count = (round * 7) % 5 === 0 ? 0 : (round * 13) % 9;
    sent += count - emit(count);
    await turnsOfTheLoop(round % 4);
    if (round % 3 !== 0) vi.advanceTimersByTime((round * 11) % (2 * INTERVAL_MS));
    if (round % 97 === 0) ring.wakeBy((['epoll', 'timer', 'adaptive'] as const)[round % 3] ?? 'timer');
  }
  ring.wakeBy('adaptive');
  await untilTaken(sent);
  expect(numbers).toEqual(upTo(sent));
});

it('leaves no descriptor or event loop handle after 300 changes', async () => {
  using ring = openRing();
  for (let change = 0; change < 300; change++) {
    emit(1);
    await turnsOfTheLoop(2);
    vi.advanceTimersByTime(change % 3 === 0 ? 1 : INTERVAL_MS);
  }
  ring.drain();
  expect(numbers).toEqual(upTo(300));
});
