import { expect, it } from 'vitest';
import { LIVED_ARGUMENTS, livedOptions } from '../../bench/lived/arguments.ts';
import { cpuMsOf, netOfIdle, ThreadTimes, type Use } from '../../bench/lived/threads.ts';
import { spreadOf } from '../../bench/measure.ts';

function use(elapsedMs: number, threads: Record<string, readonly [cpuMs: number, wakeups: number]>): Use {
  const entries = Object.entries(threads).map(([name, [cpuMs, wakeups]]) => [name, { cpuMs, wakeups }] as const);
  return { elapsedMs, threads: new Map(entries) };
}

it('CPU of a scrape excludes the idle CPU of the process in the same time, by thread', () => {
  const idle = use(10_000, { MainThread: [100, 50], kernel: [20, 10] });
  const net = netOfIdle(use(500, { MainThread: [8, 3], kernel: [11, 4], V8Worker: [2, 1] }), idle);
  expect(Object.fromEntries(net)).toEqual({ all: 15, MainThread: 3, kernel: 10, V8Worker: 2 });
});

it('all threads of a process are counted, with the CPU that they have used', () => {
  const before = ThreadTimes.of(process.pid);
  const cpuBefore = process.cpuUsage();
  let spent = 0;
  while (spent < 30_000) spent = process.cpuUsage(cpuBefore).user;
  const since = ThreadTimes.of(process.pid).since(before);
  expect(since.threads.size).toBeGreaterThan(0);
  // The kernel's CPU accounting of a running thread may lag by up to one tick.
  expect(cpuMsOf(since)).toBeGreaterThan(15);
});

it('a spread has median, quartiles, mean and number', () => {
  expect(spreadOf([4, 1, 2, 3, 10])).toEqual({ median: 3, quartiles: [2, 4], mean: 4, n: 5 });
});

it('an invalid option is refused with its name', () => {
  const defaults = Object.fromEntries(
    Object.entries(LIVED_ARGUMENTS).map(([name, { default: value }]) => [name, value]),
  );
  expect(livedOptions(defaults)).toMatchObject({ bed: 'namespaces', count: 110, everySeconds: [15, 1], baselines: [] });
  expect(() => livedOptions({ ...defaults, bed: 'vm' })).toThrow('--bed vm: namespaces or pods');
  expect(() => livedOptions({ ...defaults, every: '15,x' })).toThrow('--every x: not a number above 0');
  expect(() => livedOptions({ ...defaults, edges: '10' })).toThrow('--edges 10: needs --bed pods');
  expect(() => livedOptions({ ...defaults, before: '-1' })).toThrow('--before -1: not a whole number');
});
