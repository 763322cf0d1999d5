import { getHeapStatistics } from 'node:v8';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each thread of an agent. On SIGUSR2, each thread prints the size of its V8 memory in bytes. This file
 * is not TypeScript because stripping the types would take several megabytes in each thread.
 */

const channel = new BroadcastChannel('memory');
channel.unref();

function report() {
  const { total_physical_size: heap, malloced_memory: malloced } = getHeapStatistics();
  const { arrayBuffers } = process.memoryUsage();
  process.stderr.write(`memory ${isMainThread ? 'main' : 'kernel'} ${heap} ${malloced} ${arrayBuffers}\n`);
}

if (isMainThread) {
  process.on('SIGUSR2', () => {
    channel.postMessage('report');
    report();
  });
} else {
  channel.onmessage = report;
}
