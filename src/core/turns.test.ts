import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { BusyError, Turns } from './turns.ts';

const WAIT_MS = 1_000;

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

/** Work that the test completes in the order in which it was started. */
class Work {
  readonly begun: string[] = [];
  readonly #ends: (() => void)[] = [];

  of(name: string): () => Promise<string> {
    return () => {
      this.begun.push(name);
      return new Promise((resolve) => this.#ends.push(() => resolve(name)));
    };
  }

  async endNext(): Promise<void> {
    this.#ends.shift()?.();
    await vi.advanceTimersByTimeAsync(0);
  }
}

it('runs a bounded number at a time, and serves owners in turn', async () => {
  const turns = new Turns(2);
  const work = new Work();
  const run = (owner: string, name: string) => turns.run(owner, work.of(name), { waitMs: WAIT_MS });
  const all = [run('a', 'a1'), run('a', 'a2'), run('a', 'a3'), run('a', 'a4'), run('b', 'b1'), run('b', 'b2')];
  expect([work.begun, turns.waiting]).toEqual([['a1', 'a2'], 4]);
  for (let ended = 0; ended < all.length; ended++) await work.endNext();
  expect(work.begun).toEqual(['a1', 'a2', 'a3', 'b1', 'a4', 'b2']);
  expect(await Promise.all(all)).toEqual(['a1', 'a2', 'a3', 'a4', 'b1', 'b2']);
  expect(await turns.run('c', async () => 'c1', { waitMs: WAIT_MS })).toBe('c1');
});

it('failing work passes its turn on', async () => {
  const turns = new Turns(1);
  const fails = turns.run('a', () => Promise.reject(new Error('no')), { waitMs: WAIT_MS });
  const next = turns.run('b', async () => 'b', { waitMs: WAIT_MS });
  await expect(fails).rejects.toThrow('no');
  expect(await next).toBe('b');
});

it('aborted work, and work that has waited too long, is not run', async () => {
  const turns = new Turns(1);
  const work = new Work();
  const gone = new AbortController();
  void turns.run('a', work.of('a'), { waitMs: WAIT_MS });
  const leaves = turns.run('b', work.of('b'), { waitMs: WAIT_MS, signal: gone.signal }).catch((error) => error);
  const late = turns.run('b', work.of('c'), { waitMs: WAIT_MS }).catch((error) => error);
  gone.abort(new Error('gone'));
  expect((await leaves).message).toBe('gone');
  await expect(turns.run('b', work.of('b'), { waitMs: WAIT_MS, signal: gone.signal })).rejects.toThrow('gone');
  await vi.advanceTimersByTimeAsync(WAIT_MS);
  expect(await late).toBeInstanceOf(BusyError);
  expect(turns.waiting).toBe(0);
  await work.endNext();
  expect(work.begun).toEqual(['a']);
  expect(await turns.run('d', async () => 'd', { waitMs: WAIT_MS })).toBe('d');
});
