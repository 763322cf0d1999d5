import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each thread of an agent. On SIGUSR2, every thread runs a garbage collection, and the main thread
 * prints the total number of bytes that remain in use.
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
  let answer: (bytes: number) => void = () => undefined;
  channel.onmessage = ({ data }) => {
    const { used: bytes } = data as { used?: number };
    if (bytes !== undefined) answer(bytes);
  };
  process.on('SIGUSR2', () => {
    // The agent has only one other thread. On a busy machine, this thread may respond late.
    answer = (bytes) => process.stderr.write(`heap ${used() + bytes}\n`);
    channel.postMessage({});
  });
} else {
  channel.onmessage = ({ data }) => {
    if (!('used' in (data as object))) channel.postMessage({ used: used() });
  };
}
