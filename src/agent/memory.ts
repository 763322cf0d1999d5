import { BurstWatch, giveBackMemory } from '#core/heap.ts';
import { repeat } from '#core/repeat.ts';
import type { KernelClient } from '#kernel/client.ts';

const LOOK_EVERY_MS = 10_000;

/** Gives back what a burst has left in the heaps of both threads, once it is over. Until disposed. */
export function keepMemory(
  kernel: Pick<KernelClient, 'ask'>,
  everyMs = LOOK_EVERY_MS,
  resident: () => number = process.memoryUsage.rss,
  giveBack = giveBackMemory,
): AsyncDisposable {
  const watch = new BurstWatch();
  return repeat(everyMs, async () => {
    if (!watch.look(resident())) return;
    // A thread that does not answer, or has ended, is somebody else's concern.
    void kernel.ask('giveBack', null).catch(() => undefined);
    giveBack();
  });
}
