import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { BpfObject, BpfRing, BpfStats, netlinkDumpAsync, withNetns } from '../../lib/index.ts';

/** What a worker thread of workers.test.ts does; it says 'ready' when it is in the middle of it. */
const { task, objects } = workerData as { task: keyof typeof TASKS; objects: string };

async function open(name: string, programs: readonly string[]): Promise<BpfObject> {
  const object = await BpfObject.open(join(objects, `${name}.bpf.o`));
  object.choosePrograms(programs);
  return object;
}

function ready(): void {
  parentPort?.postMessage('ready');
}

const TASKS = {
  /** Ends by itself and tells how many entries it has seen. */
  async count() {
    let entries = 0;
    for (let round = 0; round < 20; round++) {
      using object = await open('maps', ['fill']);
      await object.load();
      object.run('fill', BigUint64Array.of(10n));
      entries += object.map('pairs').dump().count;
    }
    parentPort?.postMessage(entries);
  },

  async openAndLoad() {
    ready();
    for (;;) {
      using object = await open('maps', ['fill']);
      await object.load();
    }
  },

  async slowLoad() {
    const object = await open('verifier', ['slow_1']);
    const load = object.load();
    ready();
    await load;
    parentPort?.postMessage('loaded');
  },

  async closeInSlowLoad() {
    const object = await open('verifier', ['slow_1']);
    const load = object.load();
    object.close();
    ready();
    await load;
  },

  async hold() {
    const hooks = await open('hooks', ['count_exec']);
    await hooks.load();
    await hooks.attach('count_exec');
    const object = await open('ring', ['emit']);
    await object.load();
    const onError = (error: unknown) => {
      throw error;
    };
    new BpfRing(object, 'records', {
      recordBytesMax: 256,
      intervalMs: 1,
      bufferBytes: 4096,
      onBatch: () => {},
      onError,
    });
    new BpfStats();
    object.run('emit', BigUint64Array.of(100n, 0n));
    ready();
    setInterval(() => object.run('emit', BigUint64Array.of(100n, 0n)), 1);
  },

  /** RTM_GETLINK dumps, one after the other. */
  async netlink() {
    const request = new Uint8Array(32);
    new Uint32Array(request.buffer).set([request.length, (0x301 << 16) | 18]);
    ready();
    for (;;) await netlinkDumpAsync(0, request, 1 << 20);
  },

  async insideNamespace() {
    ready();
    withNetns('/proc/self/ns/net', () => {
      for (;;);
    });
  },
};

await TASKS[task]();
