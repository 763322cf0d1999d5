import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import {
  BpfObject,
  BpfRing,
  BpfStats,
  enterNetns,
  NetlinkSubscription,
  netlinkDump,
  netlinkDumpAsync,
  netnsCookie,
  type RingWakeUp,
  withNetns,
} from '../../lib/index.ts';

/** Task that this worker thread of workers.test.ts runs. The thread posts 'ready' in the middle of the task. */
const { task, objects, path } = workerData as { task: keyof typeof TASKS; objects: string; path: string };

async function open(name: string, programs: readonly string[]): Promise<BpfObject> {
  const object = await BpfObject.open(join(objects, `${name}.bpf.o`));
  object.choosePrograms(programs);
  return object;
}

function ready(): void {
  parentPort?.postMessage('ready');
}

/** Subscribes to the devices of the namespace at `path`. @returns a function that changes one of them */
function subscribe(queueBytes: number): () => void {
  const onError = (error: unknown) => {
    throw error;
  };
  const buffers = { queueBytes, bufferBytes: 1 << 17, datagramBytesMax: 1 << 16 };
  withNetns(path, () => new NetlinkSubscription({ protocol: 0, groups: [1], ...buffers, onBatch: () => {}, onError }));
  let mtu = 1400;
  return () => {
    mtu = mtu === 1400 ? 1500 : 1400;
    // RTM_SETLINK with NLM_F_REQUEST and NLM_F_ACK; struct ifinfomsg of `lo`; IFLA_MTU.
    const request = Uint32Array.of(40, (0x5 << 16) | 19, 1, 0, 0, 1, 0, 0, (4 << 16) | 8, mtu);
    withNetns(path, () => netlinkDump(0, new Uint8Array(request.buffer), 1 << 10));
  };
}

const TASKS = {
  /** Posts the number of entries that it read, and then exits on its own. */
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

  /** Uses all kinds of attachments: a cgroup (`path`), program arrays, a shared map, and writable mapped memory. */
  async holdAttachments() {
    const base = await open('packets', ['count_egress', 'dispatch_tc']);
    await base.load();
    await base.attachCgroup('count_egress', path);
    const parser = await open('parser', ['answer_42', 'parse']);
    parser.map('counts').reuse(base.map('counts'));
    await parser.load();
    parser.plug('answer_42', base.map('next_tc'), 1);
    const maps = await open('maps', ['fill']);
    await maps.load();
    ready();
    for (;;) {
      maps.map('rows').writeMapped(0, new Uint8Array(16));
      maps.map('rows').readMapped(new Uint8Array(16), 16);
      base.runPacket('dispatch_tc', new Uint8Array(60).fill(1), { repeat: 10 });
      (await base.attachCgroup('count_egress', path)).close();
    }
  },

  /** Switches a ring between epoll and the timer while records arrive. */
  async epollRing() {
    const object = await open('ring', ['emit_waking']);
    await object.load();
    const onError = (error: unknown) => {
      throw error;
    };
    const ring = new BpfRing(object, 'records', {
      recordBytesMax: 256,
      wakeBy: 'epoll',
      intervalMs: 1,
      bufferBytes: 4096,
      onBatch: () => {},
      onError,
    });
    let rounds = 0;
    setInterval(() => {
      object.run('emit_waking', BigUint64Array.of(100n, 0n));
      const wakeUps: RingWakeUp[] = ['epoll', 'epoll', 'timer'];
      ring.wakeBy(wakeUps[rounds++ % 3] ?? 'timer');
    }, 1);
    ready();
  },

  /** Blocks the thread inside an epoll callback. */
  async insideNotice() {
    const object = await open('ring', ['emit_waking']);
    await object.load();
    new BpfRing(object, 'records', {
      recordBytesMax: 256,
      wakeBy: 'epoll',
      intervalMs: 1,
      bufferBytes: 4096,
      onBatch: () => {
        ready();
        for (;;);
      },
      onError: () => {},
    });
    setTimeout(() => object.run('emit_waking', BigUint64Array.of(1n, 0n)), 20);
    setInterval(() => {}, 1000);
  },

  /** Repeatedly runs an iterator over the sockets. */
  async iterate() {
    const object = await open('iterators', ['tcp_ports']);
    await object.load();
    ready();
    for (;;) await Promise.all([1, 2].map(() => object.readIteratorAsync('tcp_ports', { bytesMax: 1 << 20 })));
  },

  /** Moves the thread to the namespace at `path`, and posts the cookie and the devices of that namespace. */
  async liveInNamespace() {
    const home = netnsCookie();
    enterNetns(path);
    const entered = netnsCookie();
    const devices = readFileSync('/proc/thread-self/net/dev', 'utf8');
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const answer = await new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => resolve('connected'));
      socket.once('error', reject);
      server.once('connection', (peer) => peer.destroy());
    });
    const back = withNetns('/proc/self/ns/net', netnsCookie);
    parentPort?.postMessage({ home, entered, devices, port, answer, back, after: netnsCookie() });
    await once(parentPort as MessagePort, 'message');
    server.close();
    parentPort?.close();
  },

  /** Repeatedly makes RTM_GETLINK dumps. */
  async netlink() {
    const request = new Uint8Array(32);
    new Uint32Array(request.buffer).set([request.length, (0x301 << 16) | 18]);
    ready();
    for (;;) await netlinkDumpAsync(0, request, 1 << 20);
  },

  async subscription() {
    const change = subscribe(8 << 20);
    change();
    ready();
    setInterval(change, 1);
  },

  /** Overruns the socket's receive buffer and never reads the error. */
  async overrun() {
    const change = subscribe(1);
    for (let times = 0; times < 50; times++) change();
    ready();
    for (;;) change();
  },

  async insideNamespace() {
    ready();
    withNetns('/proc/self/ns/net', () => {
      for (;;);
    });
  },
};

await TASKS[task]();
