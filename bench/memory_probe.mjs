import { getHeapStatistics } from 'node:v8';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each thread of an agent. On SIGUSR2, each thread prints the size of its V8 memory in bytes. With the
 * environment variable MEMORY_PROBE=collect, it first collects its garbage and returns unused memory to the kernel. This
 * file is not TypeScript because stripping the types would take several megabytes in each thread.
 */

const channel = new BroadcastChannel('memory');
channel.unref();

function report() {
  if (process.env.MEMORY_PROBE === 'collect') globalThis.gc({ type: 'major', flavor: 'last-resort' });
  const { total_physical_size: heap, used_heap_size: used, malloced_memory: malloced } = getHeapStatistics();
  const { arrayBuffers } = process.memoryUsage();
  process.stderr.write(`memory ${isMainThread ? 'main' : 'kernel'} ${heap} ${used} ${malloced} ${arrayBuffers}\n`);
}

if (isMainThread) {
  process.on('SIGUSR2', () => {
    channel.postMessage('report');
    report();
  });
} else {
  channel.onmessage = report;
}
