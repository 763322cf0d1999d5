import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { BpfObject, BpfRing, BpfStats } from '../../lib/index.ts';

/** Child process of process_exit.test.ts. Opens resources, closes none of them, and exits in one of several ways. */
const [objects = '', way] = process.argv.slice(2);

async function load(name: string, program: string): Promise<BpfObject> {
  const object = await BpfObject.open(join(objects, `${name}.bpf.o`));
  object.choosePrograms([program]);
  await object.load();
  return object;
}

const hooks = await load('hooks', 'count_exec');
await hooks.attach('count_exec');
const object = await load('ring', 'emit');
const onError = (error: unknown) => {
  throw error;
};
new BpfRing(object, 'records', { recordBytesMax: 256, intervalMs: 1, bufferBytes: 4096, onBatch: () => {}, onError });
new BpfRing(await load('ring', 'emit_waking'), 'records', {
  recordBytesMax: 256,
  wakeBy: 'epoll',
  intervalMs: 1,
  bufferBytes: 4096,
  onBatch: () => {},
  onError,
});
const base = await load('packets', 'dispatch_tc');
(await load('parser', 'answer_42')).plug('answer_42', base.map('next_tc'), 1);
new BpfStats();
const slow = await BpfObject.open(join(objects, 'verifier.bpf.o'));
slow.choosePrograms(['slow_1']);

switch (way) {
  case 'with nothing left to do':
    break;
  case 'in a load':
    void slow.load();
    process.exit(0);
    break;
  case 'in a load of an object that it has closed': {
    const load = slow.load();
    slow.close();
    await load.catch(() => process.exit(0));
    break;
  }
  case 'with a thread in a load': {
    const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: { task: 'slowLoad', objects } });
    worker.once('message', () => process.exit(0));
    break;
  }
  default:
    throw new Error(`unknown way: ${way}`);
}
