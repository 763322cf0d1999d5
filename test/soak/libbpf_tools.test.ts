import { afterAll, beforeAll, it } from 'vitest';
import { LoopDevice } from '../support/block.ts';
import { sh } from '../support/command.ts';
import { HostPair } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { histogramOf } from '../support/latency.ts';
import { agreesWithTool } from '../support/libbpf_tools.ts';

const SECONDS = 10;
const ON = '{ probes: { biolatency: { enabled: true, threshold: 10s }, softirq: { enabled: true, threshold: 10s } } }';

const resources = new AsyncDisposableStack();
let pair: HostPair;
let loop: LoopDevice;
let agent: TestKernel;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
  loop = resources.use(new LoopDevice());
  agent = resources.use(await TestKernel.open(ON));
});

afterAll(() => resources.disposeAsync());

it('biolatency agrees with that of libbpf-tools at the median', () =>
  agreesWithTool({
    command: ['biolatency', '-d', loop.name, `${SECONDS}`, '1'],
    seconds: SECONDS,
    histogram: async () =>
      histogramOf(await agent.page(), 'netsonde_block_io_seconds', { device: loop.name, operation: 'write', pod: '' }),
    load: () => void sh(`dd if=/dev/zero of=${loop.path} bs=4k count=100 oflag=direct conv=notrunc status=none`),
    atLeast: 1_000,
  }));

it('softirq agrees with softirqs of libbpf-tools at the median', () =>
  agreesWithTool({
    command: ['softirqs', '-d', `${SECONDS}`, '1'],
    seconds: SECONDS,
    section: /softirq = net_rx\n([^=]*)/,
    histogram: async () =>
      histogramOf(await agent.page(), 'netsonde_softirq_run_seconds', { vector: 'net_rx', namespace: '', pod: '' }),
    load: () => pair.a.udpSend({ address: pair.addressB.ipv4, port: 7001, count: 500, bytes: 100 }),
    atLeast: 2_000,
  }));
