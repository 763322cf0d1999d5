import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { diskOf, LoopDevice, WriteThrottle } from '../support/block.ts';
import { sh } from '../support/command.ts';
import { startPython, TestNetns } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { filled, grown, histogramOf, type PageHistogram } from '../support/latency.ts';
import { agreesWithTool } from '../support/libbpf_tools.ts';
import { eventually } from '../support/oracle.ts';

const DELAY = 'netsonde_block_io_seconds';
const config = (options: object) => only({ biolatency: { enabled: true, ...options } });
const QUIET = config({ threshold: '10s' });

const resources = new AsyncDisposableStack();
let netns: TestNetns;
let other: TestNetns;
let loop: LoopDevice;
let agent: TestKernel;

beforeAll(async () => {
  netns = resources.use(new TestNetns());
  other = resources.use(new TestNetns());
  loop = resources.use(new LoopDevice());
  agent = resources.use(await TestKernel.open(QUIET));
});

afterAll(() => resources.disposeAsync());

async function histogram(operation: string, pod = netns.name, device = loop.name): Promise<PageHistogram> {
  return histogramOf(await agent.page(), DELAY, { device, operation, pod });
}

/** Writes `count` blocks, each in its own request. */
function write(count: number, where = netns): void {
  where.exec(`dd if=/dev/zero of=${loop.path} bs=4k count=${count} oflag=direct conv=notrunc status=none`);
}

it('counts each request once, for the Pod whose process made it', async () => {
  const before = { write: await histogram('write'), read: await histogram('read'), done: loop.done() };
  write(40);
  netns.exec(`dd if=${loop.path} of=/dev/null bs=4k count=25 iflag=direct status=none`);
  const written = grown(before.write, await histogram('write'));
  const read = grown(before.read, await histogram('read'));
  const done = loop.done();
  expect(written.count).toBe(40);
  // Opening the device causes additional reads of the partition table.
  expect(read.count).toBeGreaterThanOrEqual(25);
  expect(done.writes - before.done.writes).toBe(written.count);
  expect((await histogram('write', other.name)).count).toBe(0);
  expect(written.sum).toBeGreaterThan(0);
  write(7, other);
  expect((await histogram('write', other.name)).count).toBe(7);
  expect(grown(before.write, await histogram('write')).count).toBe(40);
});

it('distinguishes a flush from a write', async () => {
  const before = await histogram('flush', '');
  netns.exec(`dd if=/dev/zero of=${loop.path} bs=4k count=1 oflag=direct conv=notrunc,fsync status=none`);
  expect(grown(before, await histogram('flush', '')).count + (await histogram('flush')).count).toBeGreaterThan(0);
});

it('agrees with biolatency of libbpf-tools, within a bucket at the median', () =>
  agreesWithTool({
    command: ['biolatency', '-d', loop.name, '2', '1'],
    seconds: 2,
    histogram: () => histogram('write'),
    load: () => write(100),
    atLeast: 300,
  }));

it.skipIf(!existsSync('/sys/fs/cgroup/blkio'))(
  'reports a slow request: the device, the operation, the process',
  async () => {
    await agent.kernel.configure(probesOf(config({ threshold: '50ms' })));
    using throttle = new WriteThrottle(diskOf('/var/tmp'), 10);
    agent.events.length = 0;
    const before = await histogram('write');
    const start = performance.now();
    // The shell joins the cgroup first, because `ip netns exec` mounts another /sys, which hides the machine's cgroups.
    const dd = `dd if=/dev/zero of=${loop.path} bs=8k count=6 oflag=direct conv=notrunc status=none`;
    const program = `echo $$ > ${throttle.procs}; exec ip netns exec ${netns.name} ${dd}`;
    const child = spawn('sh', ['-c', program], { stdio: 'inherit' });
    await new Promise((resolve) => child.once('close', resolve));
    const took = (performance.now() - start) / 1000;
    const written = grown(before, await histogram('write'));
    expect(written.count).toBe(6);
    // The disk below the loop device is limited to ten writes a second, and the process waits for each write.
    expect(written.sum).toBeGreaterThan(0.35);
    expect(written.sum).toBeLessThan(took);
    expect(filled(written).at(-1)).toBeGreaterThanOrEqual(0.131072);
    const slow = await eventually(() => {
      const found = agent.events.filter(({ type, device }) => type === 'block_io_slow' && device === loop.name);
      expect(found.length).toBeGreaterThanOrEqual(3);
      return found;
    });
    for (const event of slow) {
      expect(event).toMatchObject({
        probe: 'biolatency',
        severity: 'warning',
        namespace: '',
        pod: netns.name,
        netns: String(netns.cookie),
        operation: 'write',
        bytes: 8192,
        process: 'dd',
        pid: child.pid,
      });
      expect(event['delaySeconds']).toBeGreaterThan(0.05);
      expect(event.message).toMatch(
        new RegExp(`^${loop.name} took [\\d.]+ ms for a write of 8192 bytes, requested by dd`),
      );
    }
  },
);

it('counts later writeback by the kernel on the node', async () => {
  await agent.kernel.configure(probesOf(config({ threshold: '1us', limit: 1000 })));
  agent.events.length = 0;
  const before = { pod: await histogram('write'), node: await histogram('write', '') };
  // The process keeps the device open, because the last process that closes a device writes its data back.
  await using _writer = await startPython(
    netns,
    `import time; f = open('${loop.path}', 'r+b', 0); f.write(bytes(65536)); print('written'); time.sleep(60)`,
  );
  sh('sync');
  expect(grown(before.node, await histogram('write', '')).count).toBeGreaterThan(0);
  expect(grown(before.pod, await histogram('write')).count).toBe(0);
  const [event] = await eventually(() => {
    const found = agent.events.filter(({ device, operation }) => device === loop.name && operation === 'write');
    expect(found.length).toBeGreaterThan(0);
    return found;
  });
  expect(event).toMatchObject({ namespace: '', pod: '' });
  expect(event?.['process']).toMatch(/^kworker/);
});

it('continues its counts when it is switched off and on again', async () => {
  const before = await histogram('write');
  await agent.kernel.configure(probesOf(only({})));
  expect((await histogram('write')).count).toBe(0);
  await agent.kernel.configure(probesOf(QUIET));
  expect(await histogram('write')).toEqual(before);
  write(3);
  expect((await histogram('write')).count).toBe(before.count + 3);
});
