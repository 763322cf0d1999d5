import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type BpfError, type BpfObject, BpfRing, type RingBatch, type RingOptions } from '../lib/index.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject } from './support/objects.ts';

const EMSGSIZE = 90;
const NEVER = 24 * 3_600_000;

expectNothingLeft();

let object: BpfObject;
/** Numbers of the records that the rings of a test delivered. */
let numbers: number[];
let errors: unknown[];
beforeEach(async () => {
  numbers = [];
  errors = [];
  object = await loadObject('ring', ['emit', 'emit_waking']);
});
afterEach(() => object.close());

/** Writes records and lets the kernel notify epoll. Returns the number of records that did not fit. */
function emit(count: number, bytes = 0): number {
  return object.run('emit_waking', BigUint64Array.of(BigInt(count), BigInt(bytes)));
}

/** Writes records without notifying epoll. Returns the number of records that did not fit. */
function emitSilently(count: number, bytes = 0): number {
  return object.run('emit', BigUint64Array.of(BigInt(count), BigInt(bytes)));
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

function read({ view, forEach }: RingBatch): number[] {
  const batch: number[] = [];
  forEach((at) => batch.push(view.getUint32(at, true)));
  return batch;
}

/** The timer of these rings never fires, so records are only delivered by epoll. */
function openRing(options: Partial<RingOptions> = {}): BpfRing {
  return new BpfRing(object, 'records', {
    recordBytesMax: 256,
    wakeBy: 'epoll',
    intervalMs: NEVER,
    bufferBytes: 4096,
    onBatch: (batch) => numbers.push(...read(batch)),
    onError: (error) => errors.push(error),
    ...options,
  });
}

async function turnsOfTheLoop(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

describe('by epoll', () => {
  it('delivers each record on arrival, in order', async () => {
    using _ring = openRing();
    for (let round = 1; round <= 20; round++) {
      expect(emit(round % 3 === 0 ? 40 : 1)).toBe(0);
      const sent = round + 39 * Math.floor(round / 3);
      await vi.waitFor(() => expect(numbers).toHaveLength(sent), { interval: 1 });
    }
    expect(numbers).toEqual(upTo(numbers.length));
    expect(errors).toEqual([]);
  });

  it('delivers records that were written before the ring was opened', async () => {
    emit(3);
    emitSilently(2);
    using _ring = openRing();
    await vi.waitFor(() => expect(numbers).toEqual(upTo(5)));
  });

  it('reads a burst that is longer than its buffer in several turns of the event loop, and is then notified of the next record', async () => {
    let turn = 0;
    const turns: number[] = [];
    using _ring = openRing({
      onBatch: (batch) => {
        numbers.push(...read(batch));
        turns.push(turn);
        setImmediate(() => turn++);
      },
    });
    expect(emit(1000)).toBe(0);
    await vi.waitFor(() => expect(numbers).toEqual(upTo(1000)));
    expect(turns.length).toBeGreaterThan(10);
    expect(new Set(turns).size).toBe(turns.length);
    emit(1);
    await vi.waitFor(() => expect(numbers).toEqual(upTo(1001)));
  });

  it('continues after a full ring', async () => {
    using _ring = openRing();
    const lost = emit(2000, 56);
    expect(lost).toBeGreaterThan(0);
    await vi.waitFor(() => expect(numbers).toEqual(upTo(2000 - lost)));
    emit(1);
    await vi.waitFor(() => expect(numbers).toHaveLength(2001 - lost));
  });

  it('calls no callback without records', async () => {
    let calls = 0;
    using _ring = openRing({ onBatch: () => calls++ });
    emit(1);
    await vi.waitFor(() => expect(calls).toBe(1));
    await turnsOfTheLoop(100);
    expect(calls).toBe(1);
  });

  it('is not notified of an unreported record, which is delivered by the next drain', async () => {
    using ring = openRing();
    await turnsOfTheLoop(3);
    emitSilently(1);
    emit(1);
    await turnsOfTheLoop(100);
    expect(numbers).toEqual([]);
    ring.drain();
    expect(numbers).toEqual([0, 1]);
    emit(1);
    await vi.waitFor(() => expect(numbers).toEqual([0, 1, 2]));
  });

  it('reports an exception of onBatch to onError, and continues', async () => {
    const thrown = new Error('cannot read this');
    let calls = 0;
    using _ring = openRing({
      onBatch: (batch) => {
        if (calls++ === 0) throw thrown;
        numbers.push(...read(batch));
      },
    });
    emit(3);
    await vi.waitFor(() => expect(errors).toEqual([thrown]));
    emit(2);
    await vi.waitFor(() => expect(numbers).toEqual([3, 4]));
    expect(errors).toHaveLength(1);
  });

  it('reports a record that is too long and delivers the others, without a further wake-up', async () => {
    using _ring = openRing({ recordBytesMax: 64 });
    emit(3, 32);
    emit(2, 128);
    emit(3, 64);
    await vi.waitFor(() => expect(errors).toHaveLength(1));
    expect(numbers).toEqual([0, 1, 2, 5, 6, 7]);
    expect(errors).toEqual([expect.objectContaining({ code: 'BPF_RING', errno: EMSGSIZE })]);
    expect((errors[0] as BpfError).message).toContain('a record of 128 bytes');
    emit(1, 64);
    await vi.waitFor(() => expect(numbers.at(-1)).toBe(8));
  });

  it('can be closed in onBatch, and then delivers nothing more', async () => {
    const ring = openRing({
      onBatch: (batch) => {
        ring.close();
        numbers.push(...read(batch));
      },
    });
    emit(1000);
    await vi.waitFor(() => expect(numbers).not.toEqual([]));
    const handedOut = numbers.length;
    await turnsOfTheLoop(20);
    expect(numbers).toEqual(upTo(handedOut));
    expect(errors).toEqual([]);
    expect(() => ring.wakeBy('timer')).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
    expect(() => ring.wakeBy('epoll')).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
  });

  it('continues after the object is closed', async () => {
    using _ring = openRing();
    emit(2);
    object.close();
    await vi.waitFor(() => expect(numbers).toEqual([0, 1]));
  });

  it('works with several rings in one thread', async () => {
    using other = await loadObject('ring', ['emit_waking']);
    const others: number[] = [];
    using _first = openRing();
    using _second = new BpfRing(other, 'records', {
      recordBytesMax: 256,
      wakeBy: 'epoll',
      intervalMs: NEVER,
      bufferBytes: 4096,
      onBatch: (batch) => others.push(...read(batch)),
      onError: (error) => errors.push(error),
    });
    emit(2);
    other.run('emit_waking', BigUint64Array.of(3n, 0n));
    await vi.waitFor(() => expect([numbers, others]).toEqual([upTo(2), upTo(3)]));
  });
});

describe('wakeBy', () => {
  it('from epoll to the timer and back loses no record and delivers none twice', async () => {
    using ring = openRing({ intervalMs: 1 });
    let sent = 0;
    for (let round = 0; round < 300; round++) {
      ring.wakeBy(round % 2 === 0 ? 'timer' : 'epoll');
      const count = round % 7;
      sent += count - emit(count);
      if (round % 5 === 0) await turnsOfTheLoop(round % 4);
    }
    await vi.waitFor(() => expect(numbers).toHaveLength(sent));
    expect(numbers).toEqual(upTo(sent));
    expect(errors).toEqual([]);
  });

  it('to epoll reads the waiting records, reported by the kernel or not', async () => {
    using ring = openRing({ wakeBy: 'timer' });
    emitSilently(500);
    emit(20);
    await turnsOfTheLoop(10);
    expect(numbers).toEqual([]);
    ring.wakeBy('epoll');
    await vi.waitFor(() => expect(numbers).toEqual(upTo(520)));
    emit(1);
    await vi.waitFor(() => expect(numbers).toEqual(upTo(521)));
  });

  it('to the timer ends the notifications, and the timer reads the waiting records', async () => {
    using ring = openRing({ intervalMs: 20 });
    await turnsOfTheLoop(3);
    ring.wakeBy('timer');
    emit(300);
    emitSilently(2);
    await vi.waitFor(() => expect(numbers).toEqual(upTo(302)));
  });

  it('to the timer during a burst does not leave the rest of the burst to the timer', async () => {
    const ring = openRing({
      onBatch: (batch) => {
        numbers.push(...read(batch));
        ring.wakeBy('timer');
      },
    });
    emit(1000);
    await vi.waitFor(() => expect(numbers).toEqual(upTo(1000)));
    ring.close();
  });

  it('outside of a drain during a burst also reads the rest of the burst immediately', async () => {
    using ring = openRing({ bufferBytes: 512 });
    emit(500);
    while (numbers.length === 0) await turnsOfTheLoop(1);
    expect(numbers.length).toBeLessThan(400);
    ring.wakeBy('timer');
    await vi.waitFor(() => expect(numbers).toEqual(upTo(500)));
  });

  it('from onBatch to what it was: by need', async () => {
    let modes = 0;
    const ring = openRing({
      intervalMs: 1,
      onBatch: (batch) => {
        numbers.push(...read(batch));
        ring.wakeBy(modes++ % 2 === 0 ? 'timer' : 'epoll');
      },
    });
    let sent = 0;
    for (let round = 0; round < 200; round++) {
      sent += 5 - emit(5);
      await turnsOfTheLoop(2);
    }
    await vi.waitFor(() => expect(numbers).toEqual(upTo(sent)));
    ring.close();
  });

  it('leaves no descriptor or event loop handle after 500 changes', () => {
    using ring = openRing();
    for (let i = 0; i < 250; i++) {
      ring.wakeBy('timer');
      ring.wakeBy('timer');
      ring.wakeBy('epoll');
    }
  });
});
