import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, it } from 'vitest';
import { TestCgroup } from './support/cgroup.ts';
import { TestNamespace } from './support/namespace.ts';
import { expectNothingLeft } from './support/nothing_left.ts';
import { loadObject, OBJECTS } from './support/objects.ts';
import { ownPrograms } from './support/process_state.ts';

function start(task: string, path = ''): Worker {
  return new Worker(new URL('./support/worker.ts', import.meta.url), { workerData: { task, objects: OBJECTS, path } });
}

/** Returns the next message of a worker. Rejects if the worker has an error. */
async function messageOf(worker: Worker): Promise<unknown> {
  const [message] = await once(worker, 'message');
  return message;
}

beforeAll(async () => {
  // Node itself keeps some descriptors of the first worker thread open for later ones.
  const worker = start('count');
  await once(worker, 'exit');
});
expectNothingLeft();

it('several threads can use the addon at the same time with their own objects', async () => {
  const workers = Array.from({ length: 4 }, () => start('count'));
  const exits = workers.map((worker) => once(worker, 'exit'));
  using object = await loadObject('maps', ['fill']);
  expect(object.run('fill', BigUint64Array.of(5n))).toBe(5);
  expect(await Promise.all(workers.map(messageOf))).toEqual([200, 200, 200, 200]);
  expect(object.map('pairs').dump().count).toBe(5);
  await Promise.all(exits);
});

it('a thread that ends leaves nothing behind, although it closed nothing', async () => {
  const worker = start('slowLoad');
  const exit = once(worker, 'exit');
  expect(await messageOf(worker)).toBe('ready');
  expect(await messageOf(worker)).toBe('loaded');
  expect(await exit).toEqual([0]);
});

/** Upper bound of the delay before a thread is terminated, in milliseconds. Each round uses a different delay. */
const SPREAD_MS = 60;

describe('a thread that is terminated leaves nothing behind', () => {
  it.each([
    ['in a load', 'slowLoad', 3],
    ['in a load of an object that it has closed', 'closeInSlowLoad', 3],
    ['while it opens and loads', 'openAndLoad', 8],
    ['with programs attached, a ring that is drained and statistics', 'hold', 5],
    ['while it collects netlink answers', 'netlink', 8],
    ['inside a namespace', 'insideNamespace', 3],
    ['while a ring goes from epoll to the timer and back', 'epollRing', 6],
    ['in a callback of epoll', 'insideNotice', 3],
    ['while it reads iterators', 'iterate', 5],
  ])('%s', async (_what, task, rounds) => {
    for (let round = 0; round < rounds; round++) {
      const worker = start(task);
      expect(await messageOf(worker)).toBe('ready');
      await new Promise((resolve) => setTimeout(resolve, (SPREAD_MS * round) / rounds));
      expect(await worker.terminate()).toBe(1);
    }
  });

  it('with programs in a cgroup and in an array, a shared map and memory that is written', async () => {
    using cgroup = new TestCgroup();
    for (let round = 0; round < 5; round++) {
      const worker = start('holdAttachments', cgroup.path);
      expect(await messageOf(worker)).toBe('ready');
      await new Promise((resolve) => setTimeout(resolve, 3 * round));
      expect(await worker.terminate()).toBe(1);
      expect(ownPrograms()).toEqual([]);
    }
  });

  it.each([
    ['while notifications of netlink come', 'subscription'],
    ['with an overrun that nobody has received', 'overrun'],
  ])('%s', async (_what, task) => {
    using namespace = new TestNamespace();
    for (let round = 0; round < 8; round++) {
      const worker = start(task, namespace.path);
      expect(await messageOf(worker)).toBe('ready');
      await new Promise((resolve) => setTimeout(resolve, (SPREAD_MS * round) / 8));
      expect(await worker.terminate()).toBe(1);
    }
  });

  it('in several loads at once', async () => {
    const workers = Array.from({ length: 4 }, () => start('slowLoad'));
    await Promise.all(workers.map(messageOf));
    await Promise.all(workers.map((worker) => worker.terminate()));
  });
});

it('a thread that is terminated does not affect other threads', async () => {
  using object = await loadObject('maps', ['fill']);
  const worker = start('hold');
  await messageOf(worker);
  expect(ownPrograms()).toHaveLength(3);
  await worker.terminate();
  expect(ownPrograms()).toEqual([object.programInfo('fill').id]);
  expect(object.run('fill', BigUint64Array.of(5n))).toBe(5);
});
