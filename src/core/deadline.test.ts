import { setTimeout as wait } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { DeadlineError, withRunningDeadline } from './deadline.ts';

function block(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

test('time in which the thread is blocked does not count against a running deadline', async () => {
  const blocked = async () => {
    await wait(1);
    block(400);
    return wait(60, 'done');
  };
  await expect(withRunningDeadline(blocked(), 300, 'late')).resolves.toBe('done');
});

test('a running deadline rejects work that never ends', async () => {
  await expect(withRunningDeadline(new Promise(() => undefined), 30, 'late')).rejects.toThrow(DeadlineError);
});
