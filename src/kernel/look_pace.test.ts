import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { LookPace } from './look_pace.ts';

let looks: number[];
let isRestless: boolean;
/** Called during each scan. */
let during: () => Promise<void> | void;
let pace: LookPace;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  looks = [];
  isRestless = false;
  during = () => undefined;
  const startMs = performance.now();
  const look = async () => {
    looks.push(performance.now() - startMs);
    await during();
  };
  pace = new LookPace({ look, isRestless: () => isRestless });
});

afterEach(() => {
  pace[Symbol.dispose]();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

it('looks every fifteen seconds if nothing happens', async () => {
  pace.start();
  await vi.advanceTimersByTimeAsync(46_000);
  expect(looks).toEqual([15_000, 30_000, 45_000]);
});

it('looks every second while a namespace is new', async () => {
  isRestless = true;
  pace.start();
  await vi.advanceTimersByTimeAsync(2_500);
  isRestless = false;
  await vi.advanceTimersByTimeAsync(16_000);
  expect(looks).toEqual([1_000, 2_000, 3_000, 18_000]);
});

it('looks within a second of an event, once for several', async () => {
  pace.start();
  await vi.advanceTimersByTimeAsync(2_000);
  for (let count = 0; count < 10; count++) {
    pace.stir();
    await vi.advanceTimersByTimeAsync(50);
  }
  await vi.advanceTimersByTimeAsync(3_000);
  expect(looks).toEqual([3_000]);
});

it('looks again soon if an event comes during a look', async () => {
  during = () => {
    if (looks.length === 1) pace.stir();
  };
  pace.start();
  await vi.advanceTimersByTimeAsync(20_000);
  expect(looks).toEqual([15_000, 16_000]);
});

it('has one look at a time, even if it takes long', async () => {
  const over = Promise.withResolvers<void>();
  during = () => over.promise;
  pace.start();
  await vi.advanceTimersByTimeAsync(30_000);
  expect(looks).toEqual([15_000]);
  over.resolve();
  await vi.advanceTimersByTimeAsync(15_000);
  expect(looks).toEqual([15_000, 45_000]);
});

it('does not look before it is started, nor after it is disposed', async () => {
  pace.stir();
  await vi.advanceTimersByTimeAsync(10_000);
  pace.start();
  pace[Symbol.dispose]();
  pace.stir();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(looks).toEqual([]);
});
