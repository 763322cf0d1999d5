import { giveBackMemory, MemoryWatch } from '#core/heap.ts';
import { repeat } from '#core/repeat.ts';
import type { KernelClient } from '#kernel/client.ts';

const LOOK_EVERY_MS = 10_000;

/**
 * Watches the resident memory, and returns unused heap memory of both threads to the kernel after a burst of memory
 * use and after slow growth. Runs until disposed.
 */
export function keepMemory(
  kernel: Pick<KernelClient, 'ask'>,
  everyMs = LOOK_EVERY_MS,
  resident: () => number = process.memoryUsage.rss,
  giveBack = giveBackMemory,
): AsyncDisposable {
  const watch = new MemoryWatch();
  return repeat(everyMs, async () => {
    if (!watch.look(resident())) return;
    // The client handles a kernel thread that hangs or has exited.
    void kernel.ask('giveBack', null).catch(() => undefined);
    giveBack();
  });
}
