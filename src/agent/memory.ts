import { BurstWatch, giveBackMemory } from '#core/heap.ts';
import { repeat } from '#core/repeat.ts';
import type { KernelClient } from '#kernel/client.ts';

const LOOK_EVERY_MS = 10_000;

/** Returns the memory of a burst to the kernel once the burst is over, from the heaps of both threads. Runs until disposed. */
export function keepMemory(
  kernel: Pick<KernelClient, 'ask'>,
  everyMs = LOOK_EVERY_MS,
  resident: () => number = process.memoryUsage.rss,
  giveBack = giveBackMemory,
): AsyncDisposable {
  const watch = new BurstWatch();
  return repeat(everyMs, async () => {
    if (!watch.look(resident())) return;
    // A kernel thread that hangs or has ended is handled by its client.
    void kernel.ask('giveBack', null).catch(() => undefined);
    giveBack();
  });
}
