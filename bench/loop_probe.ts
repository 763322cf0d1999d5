import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each thread of an agent. On SIGUSR2, each thread prints the 99th percentile of its event-loop delay in
 * milliseconds since the last signal, and resets the histogram.
 */

const RESOLUTION_MS = 1;
const NANOSECONDS_PER_MS = 1e6;

const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
histogram.enable();
const channel = new BroadcastChannel('loop');
(channel as unknown as { unref(): void }).unref();

function report(): void {
  const late = Math.max(0, histogram.percentile(99) / NANOSECONDS_PER_MS - RESOLUTION_MS);
  process.stderr.write(`loop ${isMainThread ? 'main' : 'kernel'} ${late.toFixed(2)}\n`);
  histogram.reset();
}

if (isMainThread) {
  process.on('SIGUSR2', () => {
    channel.postMessage('report');
    report();
  });
} else {
  channel.onmessage = report;
}
