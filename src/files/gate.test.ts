import { setImmediate as turn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { FileGate } from './gate.ts';

/** Steps that do not finish until the test finishes them. */
class Work {
  readonly begun: string[] = [];
  readonly aborted: string[] = [];
  readonly #ends = new Map<string, () => void>();

  step(name: string): (signal: AbortSignal) => Promise<string> {
    return async (signal) => {
      this.begun.push(name);
      signal.addEventListener('abort', () => this.aborted.push(name));
      await new Promise<void>((resolve) => this.#ends.set(name, resolve));
      return name;
    };
  }

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.();
    await turn();
  }
}

let work: Work;
let gate: FileGate;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  work = new Work();
  gate = new FileGate({ deadlineMs: 5_000, stepsMax: 3, againMs: 30_000 });
});

afterEach(() => void vi.useRealTimers());

const words = (promise: Promise<unknown>) =>
  promise.then(
    () => 'done',
    (error: Error) => error.message,
  );

it('runs steps on one path one after the other, and on other paths in parallel', async () => {
  const all = ['a1', 'a2', 'b1'].map((name) => gate.run(`/${name[0]}`, work.step(name)));
  expect(work.begun).toEqual(['a1', 'b1']);
  await work.end('a1');
  expect(work.begun).toEqual(['a1', 'b1', 'a2']);
  await work.end('a2');
  await work.end('b1');
  expect(await Promise.all(all)).toEqual(['a1', 'a2', 'b1']);
});

it('gives up a step that does not return, and retries its path now and then', async () => {
  const first = words(gate.run('/a', work.step('1')));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await first).toBe('/a does not respond: check the file system that it is on');
  expect([work.aborted, gate.hanging]).toEqual([['1'], 1]);
  await vi.advanceTimersByTimeAsync(4_000);
  expect(await words(gate.run('/a', work.step('2')))).toContain('does not respond');
  await vi.advanceTimersByTimeAsync(21_000);
  const again = words(gate.run('/a', work.step('3')));
  await work.end('3');
  expect(await again).toBe('done');
  // Step 1 still hangs, so a step is rejected if it must be the only one on its path.
  expect(await words(gate.run('/a', work.step('4'), { alone: true }))).toContain('does not respond');
  await work.end('1');
  expect(gate.hanging).toBe(0);
  const later = words(gate.run('/a', work.step('5'), { alone: true }));
  await work.end('5');
  expect(await later).toBe('done');
  expect(work.begun).toEqual(['1', '3', '5']);
});

it('bounds the number of steps that hang, and reports it to further callers', async () => {
  const hung = ['/a', '/b', '/c'].map((path) => words(gate.run(path, work.step(path))));
  await vi.advanceTimersByTimeAsync(5_000);
  await Promise.all(hung);
  const late = words(gate.run('/d', work.step('/d')));
  await vi.advanceTimersByTimeAsync(5_000);
  expect(await late).toBe('/d was not opened, because 3 operations on other files hang');
  await work.end('/b');
  const next = words(gate.run('/d', work.step('/d')));
  await work.end('/d');
  expect(await next).toBe('done');
});

it('does no more than three steps on a path that hangs', async () => {
  for (let round = 0; round < 6; round++) {
    const step = words(gate.run('/a', work.step(`${round}`)));
    await vi.advanceTimersByTimeAsync(40_000);
    expect(await step).toContain('does not respond');
  }
  expect(work.begun).toEqual(['0', '1', '2']);
});

it('passes on the error of a step', async () => {
  const step = gate.run('/a', () => Promise.reject(new Error('no such file')));
  await expect(step).rejects.toThrow('no such file');
  const next = words(gate.run('/a', work.step('next')));
  await work.end('next');
  expect(await next).toBe('done');
});
