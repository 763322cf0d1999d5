import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';

/**
 * Is preloaded into each thread of an agent. On SIGUSR2, every thread collects its garbage, and the main thread prints how many bytes all threads
 * still use.
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
    // The agent has one other thread, whose response may take a while on a busy machine.
    answer = (bytes) => process.stderr.write(`heap ${used() + bytes}\n`);
    channel.postMessage({});
  });
} else {
  channel.onmessage = ({ data }) => {
    if (!('used' in (data as object))) channel.postMessage({ used: used() });
  };
}
