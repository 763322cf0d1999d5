import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into an agent, in each of its threads: on SIGUSR2 every thread collects its garbage, and the main thread
 * prints the bytes that all of them still use.
 */

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const channel = new BroadcastChannel('heap');
(channel as unknown as { unref(): void }).unref();

function used(): number {
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}

if (isMainThread) {
  let others = 0;
  channel.onmessage = ({ data }) => {
    others += Number((data as { used?: number }).used ?? 0);
  };
  process.on('SIGUSR2', () => {
    others = 0;
    channel.postMessage({});
    setTimeout(() => process.stderr.write(`heap ${used() + others}\n`), 500);
  });
} else {
  channel.onmessage = ({ data }) => {
    if (!('used' in (data as object))) channel.postMessage({ used: used() });
  };
}
