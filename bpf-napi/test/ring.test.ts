import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type BpfError, type BpfObject, BpfRing, type RingBatch, type RingOptions } from '../lib/index.ts';
import { loadObject, openObject } from './support/objects.ts';
import { mappedMaps, openDescriptors } from './support/process_state.ts';

const EINVAL = 22;
const EMSGSIZE = 90;
const RECORD_BYTES_MAX = 256;
const BUFFER_BYTES = 4096;
/** Timeout for a busy machine. */
const PATIENT = { timeout: 30_000 };

let object: BpfObject;
let before: string[];
/** Numbers of the records that the rings of a test delivered. */
let numbers: number[];
let errors: unknown[];
beforeEach(async () => {
  numbers = [];
  errors = [];
  before = openDescriptors();
  object = await loadObject('ring', ['emit']);
});
afterEach(() => {
  object.close();
  expect(openDescriptors()).toEqual(before);
  expect(mappedMaps()).toBe(0);
});

/** Returns the number of records that did not fit. */
function emit(count: number, bytes = 0): number {
  return object.run('emit', BigUint64Array.of(BigInt(count), BigInt(bytes)));
}

function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Checks that each record is complete, and returns the numbers of the records. */
function read({ view, forEach }: RingBatch): number[] {
  const batch: number[] = [];
  forEach((at, bytes) => {
    const number = view.getUint32(at, true);
    expect(view.getUint32(at + 4, true)).toBe(bytes);
    const pattern = new Uint8Array(view.buffer, at + 8, bytes - 8);
    expect(pattern.every((byte) => byte === (number & 0xff))).toBe(true);
    batch.push(number);
  });
  return batch;
}

function openRing(options: Partial<RingOptions> = {}): BpfRing {
  return new BpfRing(object, 'records', {
    recordBytesMax: RECORD_BYTES_MAX,
    intervalMs: 5,
    bufferBytes: BUFFER_BYTES,
    onBatch: (batch) => numbers.push(...read(batch)),
    onError: (error) => errors.push(error),
    ...options,
  });
}

describe('by its timer', () => {
  it('delivers records of different lengths completely and in order', async () => {
    using _ring = openRing();
    for (let round = 0; round < 10; round++) {
      expect(emit(50)).toBe(0);
      await new Promise((resolve) => setTimeout(resolve, 3));
    }
    await vi.waitFor(() => expect(numbers).toHaveLength(500), PATIENT);
    expect(numbers).toEqual(upTo(500));
    expect(errors).toEqual([]);
  });

  it('reads a burst that is longer than its buffer in several turns of the event loop, without loss', async () => {
    let turn = 0;
    const turns: number[] = [];
    // If only one buffer were read per interval, this would take seconds.
    using _ring = openRing({
      intervalMs: 200,
      onBatch: (batch) => {
        numbers.push(...read(batch));
        turns.push(turn);
        setImmediate(() => turn++);
      },
    });
    expect(emit(1000)).toBe(0);
    await vi.waitFor(() => expect(numbers).toHaveLength(1000), PATIENT);
    expect(numbers).toEqual(upTo(1000));
    expect(turns.length).toBeGreaterThan(10);
    expect(new Set(turns).size).toBe(turns.length);
  });

  it('delivers all records that fit into a full ring', async () => {
    using _ring = openRing();
    const lost = emit(2000, 56);
    expect(lost).toBeGreaterThan(0);
    await vi.waitFor(() => expect(numbers).toHaveLength(2000 - lost), PATIENT);
    expect(numbers).toEqual(upTo(2000 - lost));
    numbers = [];
    expect(emit(10)).toBe(0);
    await vi.waitFor(() => expect(numbers).toHaveLength(10), PATIENT);
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
    await vi.waitFor(() => expect(errors).toEqual([thrown]), PATIENT);
    emit(2);
    await vi.waitFor(() => expect(numbers).toEqual([3, 4]), PATIENT);
    expect(errors).toHaveLength(1);
  });

  it('can be closed in onBatch, and then delivers nothing more', async () => {
    const ring = openRing({
      onBatch: (batch) => {
        ring.close();
        numbers.push(...read(batch));
      },
    });
    emit(1000);
    await vi.waitFor(() => expect(numbers).not.toEqual([]), PATIENT);
    const handedOut = numbers.length;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(numbers).toHaveLength(handedOut);
    expect(numbers).toEqual(upTo(handedOut));
    expect(errors).toEqual([]);
    expect(() => ring.drain()).toThrow(expect.objectContaining({ code: 'BPF_CLOSED' }));
  });
});

describe('a record that is longer than recordBytesMax', () => {
  it('is reported and skipped; the others are delivered', async () => {
    using _ring = openRing({ recordBytesMax: 64 });
    emit(3, 32);
    emit(2, 128);
    emit(3, 64);
    await vi.waitFor(() => expect(errors).not.toEqual([]), PATIENT);
    expect(numbers).toEqual([0, 1, 2, 5, 6, 7]);
    expect(errors).toEqual([expect.objectContaining({ code: 'BPF_RING', subject: 'records', errno: EMSGSIZE })]);
    expect((errors[0] as BpfError).message).toContain('a record of 128 bytes');
    emit(1, 64);
    await vi.waitFor(() => expect(numbers.at(-1)).toBe(8), PATIENT);
    expect(errors).toHaveLength(1);
  });

  it('is reported immediately if it is the only record', () => {
    using ring = openRing({ recordBytesMax: 64, intervalMs: 60_000 });
    emit(1, 65);
    expect(() => ring.drain()).toThrow(expect.objectContaining({ code: 'BPF_RING', errno: EMSGSIZE }));
    expect(ring.drain()).toBe(0);
  });
});

describe('drain', () => {
  it('reads at most one buffer and returns its bytes', () => {
    using ring = openRing({ intervalMs: 60_000 });
    emit(100, 248);
    // A record takes 256 bytes, and there must be space for one of the maximum size.
    expect(ring.drain()).toBe(15 * 256);
    expect(numbers).toEqual(upTo(15));
    expect(ring.drain()).toBe(15 * 256);
    expect(numbers).toEqual(upTo(30));
  });

  it('of an empty ring calls no callback', () => {
    let calls = 0;
    using ring = openRing({ intervalMs: 60_000, onBatch: () => calls++ });
    expect(ring.drain()).toBe(0);
    expect(calls).toBe(0);
  });
});

describe('cannot be created', () => {
  it('for a map that is not a ring', () => {
    const options = { recordBytesMax: 8, intervalMs: 5, bufferBytes: 64, onBatch: () => {}, onError: () => {} };
    expect(() => new BpfRing(object, 'no_ring', options)).toThrow(
      expect.objectContaining({ code: 'BPF_RING', subject: 'no_ring', errno: EINVAL }),
    );
    expect(() => new BpfRing(object, 'nobody', options)).toThrow(expect.objectContaining({ code: 'BPF_MAP' }));
  });

  it('for an object that is not loaded', async () => {
    object.close();
    object = await openObject('ring', ['emit']);
    expect(() => openRing()).toThrow(expect.objectContaining({ code: 'BPF_RING' }));
  });

  it('with a buffer that is too small for one record', () => {
    // The header of a record has eight bytes, and records are padded to a multiple of eight.
    expect(() => openRing({ bufferBytes: RECORD_BYTES_MAX + 14 })).toThrow(
      expect.objectContaining({ code: 'BPF_RING', errno: EINVAL }),
    );
    using ring = openRing({ bufferBytes: RECORD_BYTES_MAX + 15, intervalMs: 60_000 });
    emit(2, RECORD_BYTES_MAX);
    ring.drain();
    ring.drain();
    expect(numbers).toEqual([0, 1]);
  });
});
