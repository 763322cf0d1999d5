import { spawn } from 'node:child_process';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { tcpPort } from '#bpf/generated/tcpsummary.ts';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId, type NetnsId } from '#core/netns.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { BpfNetnsKernel } from '#pods/netns_kernel.ts';
import { NetnsRegistry } from '#pods/registry.ts';
import { Scanner } from '#pods/scanner.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { SourceErrors } from '#sources/errors.ts';
import { NetFiles } from '#sources/net_files.ts';
import { NetlinkClient } from '#sources/netlink/client.ts';
import { TcpDiag } from '#sources/sockets/diag.ts';
import { NO_SOCKETS, type TcpSnapshot } from '#sources/sockets/snapshot.ts';
import { TcpWalk, type WalkOptions } from '#sources/sockets/tcp_walk.ts';
import { TestNetns } from '../support/hosts.ts';
import { OBJECTS } from '../support/kernel.ts';
import { readBoth } from '../support/oracle.ts';
import { UNOWNED } from '../support/owners.ts';
import { TcpHost } from '../support/tcp_host.ts';

const MANY = 4_900;
const LISTENERS = 1_500;
const ESTABLISHED = 1;
const LOOPBACK = '127.0.0.1';
const WALKS_MIN = 20;
/** Time limit that no walk exceeds under the load of these tests. */
const PATIENT = { walkMs: 10_000 };

/** Creates namespaces with connections, and removes each namespace while its connections exist. */
const DYING = `
import ctypes, fcntl, socket, struct, time
libc = ctypes.CDLL(None)
end = time.monotonic() + 3
count = 0
while time.monotonic() < end:
    assert libc.unshare(0x40000000) == 0
    kept = [socket.socket()]
    fcntl.ioctl(kept[0], 0x8914, struct.pack('16sH22s', b'lo', 0x41, b''))
    kept[0].bind(('127.0.0.1', 0))
    kept[0].listen()
    for _ in range(10):
        one = socket.socket()
        one.connect(kept[0].getsockname())
        kept += [one, kept[0].accept()[0]]
    for one in kept: one.close()
    count += 1
print(count)
`;

const resources = new AsyncDisposableStack();
const bpf = new BpfSource(OBJECTS, '/sys');
let many: TcpHost;
/** Namespaces that have their own connection hash tables, one with 16 buckets and one with a single bucket. */
let own: TcpHost;
let chain: TcpHost;
let empty: TestNetns;
let diag: TcpDiag;

function open(options: Partial<WalkOptions> = {}): Promise<TcpWalk> {
  return TcpWalk.open(bpf, 16, UNOWNED, new SourceErrors(), options);
}

function idOf({ cookie }: TestNetns): NetnsId {
  return asNetnsId(Number(cookie));
}

function rowsOf(snapshot: TcpSnapshot) {
  return [many.netns, own.netns, chain.netns, empty].map((netns) => snapshot.summary(idOf(netns)));
}

function host(netns: TestNetns): TcpHost {
  netns.ip('link set lo up');
  return resources.use(new TcpHost(netns));
}

/**
 * Opens a thousand connections in a namespace with its own hash table of this size, which is set by a sysctl of the
 * parent namespace.
 */
async function hostWithHash(buckets: number): Promise<TcpHost> {
  using parent = new TestNetns();
  parent.exec(`sysctl -qw net.ipv4.tcp_child_ehash_entries=${buckets}`);
  const made = host(resources.use(new TestNetns(undefined, parent)));
  expect(made.netns.exec('sysctl -n net.ipv4.tcp_ehash_entries').trim()).toBe(String(buckets));
  await made.call('listen', { name: 'own', address: '::1', port: 7000 });
  await made.call('pairs', { name: 'own', address: '::1', port: 7000, count: 1000 });
  return made;
}

/**
 * Repeats `work`, and calls `read` meanwhile, until `work` has completed and `read` has been called more than
 * `WALKS_MIN` times, which takes longer on a busy machine. Returns the results of `work` and the number of calls.
 */
async function readWhile<T>(
  work: () => Promise<T>,
  read: () => Promise<void>,
): Promise<{ outputs: readonly T[]; walks: number }> {
  let walks = 0;
  let isOver = false;
  const working = (async () => {
    const outputs: T[] = [];
    do outputs.push(await work());
    while (walks <= WALKS_MIN && !isOver);
    return outputs;
  })().finally(() => {
    isOver = true;
  });
  try {
    for (; !isOver; walks++) {
      await read();
      await new Promise((resolve) => setImmediate(resolve));
    }
  } finally {
    isOver = true;
  }
  return { outputs: await working, walks };
}

function run(command: string, ...args: readonly string[]): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (data) => {
    text += String(data);
  });
  return new Promise((resolve) => child.once('close', () => resolve(text)));
}

beforeAll(async () => {
  many = host(resources.use(new TestNetns()));
  await many.call('listen', { name: 'many', address: LOOPBACK, port: 7000 });
  await many.call('pairs', { name: 'many', address: LOOPBACK, port: 7000, count: MANY });
  own = await hostWithHash(16);
  chain = await hostWithHash(1);
  empty = resources.use(new TestNetns());
  empty.ip('link set lo up');
  const kernel = resources.use(await BpfNetnsKernel.open(bpf, DEFAULT_PATHS.proc, () => undefined));
  const registry = new NetnsRegistry(DEFAULT_PATHS);
  await new Scanner(DEFAULT_PATHS, kernel, registry).refresh();
  const errors = new SourceErrors();
  const files = new NetFiles('/proc', registry, errors);
  diag = new TcpDiag(registry, files, new NetlinkClient(files, errors));
});

afterAll(() => resources.disposeAsync());

it.each([
  ['the pass', {}],
  ['the walk without casts', { canCast: false }],
  // Without a time slice, each call ends as early as possible, in the middle of a chunk or of a hash chain.
  ['the walk in many slices', { sliceUs: 0 }],
  ['the walk in many slices without casts', { sliceUs: 0, canCast: false }],
])(
  '%s and SOCK_DIAG give equal rows, of ten thousand sockets and of a namespace with a hash of its own',
  async (_, options) => {
    using pass = await open(options);
    const { oracle, ours } = await readBoth(
      async () => rowsOf(await diag.read(freeCycle())),
      async () => rowsOf(await pass.read(freeCycle())),
    );
    expect(ours).toEqual(oracle);
    expect(ours.map((row) => row?.sockets[ESTABLISHED])).toEqual([2 * MANY, 2000, 2000, 0]);
    const queue = [{ port: 7000, length: 0, limit: 128, fullest: { length: 0, limit: 0 } }];
    expect(ours.map((row) => row?.acceptQueues)).toEqual([queue, queue, queue, []]);
    expect(ours[3]).toEqual(NO_SOCKETS);
  },
);

it('leaves out a hash larger than the walk allows an owner, and nothing else', async () => {
  const errors = new SourceErrors();
  using pass = await TcpWalk.open(bpf, 16, UNOWNED, errors, { bucketsEach: 8 });
  const { oracle, ours } = await readBoth(
    async () => rowsOf(await diag.read(freeCycle())),
    async () => rowsOf(await pass.read(freeCycle())),
  );
  expect(ours).toEqual([oracle[0], undefined, oracle[2], oracle[3]]);
  expect([...errors.counts.values()].map(({ path }) => path)).toEqual(['tcp hashes']);
  expect(pass.left).toEqual(['1 namespaces have hashes of their own that exceed the limit for each Pod']);
});

it('makes space for rows that had none before', async () => {
  await using crowd = new TcpHost(empty);
  await crowd.call('listen_on_many', { address: LOOPBACK, count: LISTENERS });
  using pass = await open();
  const before = pass.object;
  const summary = async () => (await pass.read(freeCycle())).summary(idOf(empty));
  expect((await summary())?.acceptQueues).toHaveLength(LISTENERS);
  expect(pass.object).not.toBe(before);
  expect(await summary()).toEqual((await diag.read(freeCycle())).summary(idOf(empty)));
});

it('forgets ports that no socket listens on any more', async () => {
  using pass = await open();
  const ports = async () => (await pass.read(freeCycle())).summary(idOf(empty))?.acceptQueues.map(({ port }) => port);
  for (const port of [7001, 7002]) {
    await using one = new TcpHost(empty);
    await one.call('listen', { name: 'one', address: LOOPBACK, port });
    expect(await ports()).toEqual([port]);
  }
  expect(await ports()).toEqual([]);
  const { count, view, keyAt } = pass.object.map('tcp_accept_queues').dump();
  const owners = Array.from({ length: count }, (_, index) => tcpPort.netns(view, keyAt(index)));
  expect(owners).toContain(idOf(many.netns));
  expect(owners).not.toContain(idOf(empty));
});

it('reports that a walk takes too long, and shows no part of it', async () => {
  using pass = await open({ sliceUs: 0, walkMs: 0 });
  await expect(pass.read(freeCycle())).rejects.toThrow(/^\d+ TCP sockets took 0 ms, and there are more$/);
});

it('counts lasting connections exactly while namespaces with connections die', async () => {
  using pass = await open(PATIENT);
  const still = rowsOf(await pass.read(freeCycle()));
  const { outputs } = await readWhile(
    () => run('python3', '-c', DYING),
    async () => expect(rowsOf(await pass.read(freeCycle()))).toEqual(still),
  );
  expect(outputs.reduce((sum, output) => sum + Number(output), 0)).toBeGreaterThan(10);
});

it('counts lasting connections exactly while others start and end elsewhere in the hash, and nearly exactly in the same chains', async () => {
  using pass = await open(PATIENT);
  const still = rowsOf(await pass.read(freeCycle()));
  await using busy = new TcpHost(empty);
  await busy.call('churn', { address: LOOPBACK, port: 7003, seconds: 0 });
  const churn = () =>
    Promise.all([
      busy.call('churn', { address: LOOPBACK, port: 7003, seconds: 3 }),
      own.call('churn', { address: '::1', port: 7003, seconds: 3 }),
    ]);
  let more = 0;
  const { walks, outputs } = await readWhile(churn, async () => {
    const snapshot = await pass.read(freeCycle());
    const [unmoved, moving] = rowsOf(snapshot);
    expect(unmoved).toEqual(still[0]);
    const [before, now] = [still[1]?.sockets[ESTABLISHED] ?? 0, moving?.sockets[ESTABLISHED] ?? 0];
    expect(now).toBeGreaterThanOrEqual(before);
    // While a connection is opened and another one is closed, a walk may count both ends of each, which is four more
    // than before. If the walk has to wait for the CPU, it may count more.
    if (now > before + 4) more++;
    expect(now).toBeLessThanOrEqual(before + 40);
  });
  for (const index of [0, 1]) {
    expect(outputs.reduce((sum, counts) => sum + Number(counts[index]), 0)).toBeGreaterThan(100);
  }
  expect(more).toBeLessThanOrEqual(walks / 50);
});
