import { getHeapStatistics } from 'node:v8';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into an agent, in each of its threads: on SIGUSR2 each prints, in bytes, V8's memory for it. Not TypeScript: stripping its types
 * would take each thread several megabytes.
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
