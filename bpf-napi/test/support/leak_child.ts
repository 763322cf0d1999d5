import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type BpfLink, BpfObject, BpfRing, BpfStats, NetlinkSubscription, type RingOptions } from '../../lib/index.ts';
import { openDescriptors, ownPrograms } from './process_state.ts';

/**
 * Child process of leak_alarm.test.ts, run with --expose-gc. Closes one resource or drops its last reference, and
 * prints the result.
 */
const [objects = '', thing = '', closes] = process.argv.slice(2);
const RING: RingOptions = {
  recordBytesMax: 256,
  intervalMs: 1,
  bufferBytes: 4096,
  onBatch: () => {},
  onError: (error) => {
    throw error;
  },
};
const SUBSCRIPTION = {
  protocol: 0,
  groups: [1],
  queueBytes: 1 << 16,
  bufferBytes: 1 << 16,
  datagramBytesMax: 1 << 15,
  onBatch: () => {},
  onError: RING.onError,
};

async function load(name = 'ring', program = 'emit'): Promise<BpfObject> {
  const object = await BpfObject.open(join(objects, `${name}.bpf.o`));
  object.choosePrograms([program]);
  await object.load();
  return object;
}

const warnings: string[] = [];
process.on('warning', (warning) => warnings.push(`${warning.name}: ${warning.message}`));

// Keeps the object referenced, so that only the ring is garbage collected.
const owner = await load();
const before = openDescriptors();

async function make(): Promise<void> {
  const makers: Record<string, () => BpfRing | BpfStats | NetlinkSubscription | Promise<BpfObject>> = {
    object: () => load(),
    ring: () => new BpfRing(owner, 'records', RING),
    'epoll ring': () => new BpfRing(owner, 'records', { ...RING, wakeBy: 'epoll' }),
    statistics: () => new BpfStats(),
    subscription: () => new NetlinkSubscription(SUBSCRIPTION),
  };
  const handle = await makers[thing]?.();
  if (closes === 'close') handle?.close();
}

async function attach(): Promise<BpfLink> {
  const object = await load('hooks', 'count_exec');
  return await object.attach('count_exec');
}

const map = thing === 'map' ? (await load()).map('records') : undefined;
const link = thing === 'link' ? await attach() : undefined;
if (thing === 'forgotten link') await attach();
await make();
for (let i = 0; i < 20 && (i < 10 || warnings.length === 0); i++) {
  await setTimeout(5);
  globalThis.gc?.();
}
console.log(
  JSON.stringify({
    warnings,
    programs: ownPrograms().length,
    descriptors: openDescriptors().length - before.length,
  }),
);
owner.close();
map?.fd; // keeps the map in use until here
link?.close();
