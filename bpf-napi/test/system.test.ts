import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { type BpfObject, BpfStats, clockOffset, jiffiesPerSecond, libbpfVersion, unavailable } from '../lib/index.ts';
import { loadObject } from './support/objects.ts';

describe('BpfStats', () => {
  let object: BpfObject;
  let othersMeasure: boolean;
  beforeAll(async () => {
    object = await loadObject('maps', ['fill']);
    othersMeasure = measure()[0] !== 0n;
    object.close();
  });
  beforeEach(async () => {
    object = await loadObject('maps', ['fill']);
  });
  afterEach(() => object.close());

  /** Returns the runs and nanoseconds that the kernel counts for ten runs. */
  function measure(): [bigint, bigint] {
    const before = object.programInfo('fill');
    for (let i = 0; i < 10; i++) object.run('fill', BigUint64Array.of(64n));
    const after = object.programInfo('fill');
    return [after.runs - before.runs, after.runNanoseconds - before.runNanoseconds];
  }

  it('makes the kernel count runs and their time', () => {
    using _stats = new BpfStats();
    const [runs, nanoseconds] = measure();
    expect(runs).toBe(10n);
    expect(nanoseconds).toBeGreaterThan(0n);
  });

  it('stops when the last one is closed', (context) => {
    if (othersMeasure) context.skip('someone else on this machine has enabled statistics');
    const first = new BpfStats();
    const second = new BpfStats();
    first.close();
    first.close();
    expect(measure()[0]).toBe(10n);
    second.close();
    expect(measure()).toEqual([0n, 0n]);
  });
});

it('clockOffset converts the monotonic clock to wall-clock time', () => {
  const before = Date.now();
  const now = Number((process.hrtime.bigint() + clockOffset()) / 1_000_000n);
  const after = Date.now();
  // Tolerance for rounding to milliseconds and for reading two clocks one after the other.
  expect(now).toBeGreaterThanOrEqual(before - 2);
  expect(now).toBeLessThanOrEqual(after + 2);
});

it('jiffiesPerSecond is one of the rates for which kernels are built', () => {
  expect([100, 250, 300, 1000]).toContain(jiffiesPerSecond());
});

it('reports that the addon is available, and its libbpf', () => {
  expect(unavailable()).toBeUndefined();
  expect(libbpfVersion()).toMatch(/^v\d+\.\d+/);
});
