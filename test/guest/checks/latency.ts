import { equal, match, ok } from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { sh } from '../../support/command.ts';
import { HostPair } from '../../support/hosts.ts';
import { probesOf, TestKernel } from '../../support/kernel.ts';
import { grown, histogramOf, type PageHistogram } from '../../support/latency.ts';
import { eventually, retry } from '../../support/oracle.ts';
import { AHEAD_OF_OTHERS } from '../../support/python.ts';
import { bucketDelays, sendAtOnce, shape, TOKEN_BUCKET } from '../../support/shaper.ts';
import { defineChecks } from '../check.ts';
import { type Features, kernelFeatures } from '../features.ts';

const PORT = 7_200;
const OTHERS = 'packetloss: false, tcpretrans: false, tcpreset: false';

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
  readonly features: Features;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  await pair.b.udpReceive({ address: '::', port: PORT });
  const agent = resources.use(await TestKernel.open(`{ probes: { ${OTHERS} } }`));
  return { pair, agent, features: kernelFeatures() };
}

async function switchOn(agent: TestKernel, probe: string, options: string): Promise<void> {
  await agent.kernel.configure(probesOf(`{ probes: { ${probe}: { enabled: true, ${options} }, ${OTHERS} } }`));
  const status = agent.kernel.probes().find(({ name }) => name === probe);
  match(status?.state ?? '', /^(running|degraded)$/, status?.reason);
  agent.events.length = 0;
}

async function histogram(agent: TestKernel, name: string, labels: Record<string, string>): Promise<PageHistogram> {
  return histogramOf(await agent.page(), name, labels);
}

/** Returns the number of times that a softirq ran, summed over all CPUs (man 5 proc, /proc/softirqs). */
function softirqRuns(vector: string): number {
  const [, counts = ''] = new RegExp(`^ *${vector}:(.*)$`, 'm').exec(readFileSync('/proc/softirqs', 'utf8')) ?? [];
  return counts
    .trim()
    .split(/\s+/)
    .reduce((sum, count) => sum + Number(count), 0);
}

/** Number of firewall rules, none of which matches. They slow down the softirq that receives a packet. */
const RULES = 1_500;

function burden(pair: HostPair): Disposable {
  const rule = 'add rule inet slow in udp dport 9\n';
  const file = '/run/slow.nft';
  const head = 'add table inet slow\nadd chain inet slow in { type filter hook input priority 0; }\n';
  writeFileSync(file, head + rule.repeat(RULES));
  pair.b.netns.exec(`nft -f ${file}`);
  return { [Symbol.dispose]: () => void pair.b.netns.exec('nft delete table inet slow') };
}

const IO_SECONDS = 0.03;

export const latency = defineChecks('latency', open, {
  'netiftxlatency: the wait of packets in a token bucket': async ({ pair, agent }) => {
    await switchOn(agent, 'netiftxlatency', 'threshold: 52ms');
    const pod = pair.a.netns.name;
    for (const [address, length] of [
      [pair.addressB.ipv4, 1042],
      [pair.addressB.ipv6, 1062],
    ] as const) {
      const { source, expected } = await retry(async () => {
        agent.events.length = 0;
        using _shaper = shape(pair, TOKEN_BUCKET);
        const before = await histogram(agent, 'netsonde_qdisc_delay_seconds', { pod });
        const { source, sent } = sendAtOnce(pair.a.netns, address, PORT, 10);
        const expected = bucketDelays(sent, length);
        const sum = expected.reduce((total, delay) => total + delay, 0);
        const waited = await eventually(async () => {
          const found = grown(before, await histogram(agent, 'netsonde_qdisc_delay_seconds', { pod }));
          ok(found.count >= expected.length);
          return found;
        });
        equal(waited.count, expected.length);
        // Under emulation on a busy machine, the queue's timer may fire late, but it must not fire early.
        ok(waited.sum > sum * 0.95 && waited.sum < sum * 1.25, `${address}: ${waited.sum} s, expected ${sum} s`);
        return { source, expected };
      });
      // A packet whose delay is close to the threshold may or may not cause an event.
      const slower = (seconds: number) => expected.filter((delay) => delay > seconds).length;
      const events = await eventually(() => {
        const found = agent.events.filter(({ type, src }) => type === 'qdisc_slow' && src?.endsWith(`:${source}`));
        ok(found.length >= slower(0.056) && found.length <= slower(0.04), `${found.length} events`);
        return found;
      });
      for (const event of events) {
        equal(event['qdisc'], 'tbf');
        equal(event['device'], pair.deviceA);
      }
    }
  },

  'softirq: counts each run, and measures a long one': async ({ pair, agent }) => {
    await switchOn(agent, 'softirq', 'vectors: [net_rx], threshold: 10s');
    const labels = { vector: 'net_rx', namespace: '', pod: '' };
    const read = () => histogram(agent, 'netsonde_softirq_run_seconds', labels);
    // Both counts are read at the same moment. In the rare case that a packet arrives in between, the check is retried.
    const aligned = () =>
      eventually(async () => {
        const kernel = softirqRuns('NET_RX');
        const ours = await read();
        equal(softirqRuns('NET_RX'), kernel);
        return { kernel, ours };
      });
    const start = await aligned();
    await pair.a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 200, bytes: 100 });
    const end = await aligned();
    const quick = grown(start.ours, end.ours);
    ok(quick.count > 50, `${quick.count} runs, by the kernel ${end.kernel - start.kernel}`);
    equal(quick.count, end.kernel - start.kernel);

    using _rules = burden(pair);
    const before = await read();
    // The softirq runs within the sender's system call, so the call takes at least as long as the softirq.
    const seconds = Number(
      pair.a.netns.python(`${AHEAD_OF_OTHERS}
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(('${pair.addressB.ipv4}', ${PORT}))
total = 0
for _ in range(40):
  start = time.monotonic()
  s.send(b'x')
  total += time.monotonic() - start
  time.sleep(0.002)
print(total)`),
    );
    const slow = grown(before, await read());
    ok(slow.count >= 40, `${slow.count} runs`);
    ok(slow.sum > seconds * 0.5 && slow.sum < seconds * 1.1, `${slow.sum} s in softirqs, ${seconds} s in sends`);
    const wait = await histogram(agent, 'netsonde_softirq_wait_seconds', labels);
    ok(wait.count > 100 && wait.sum > 0);
  },

  'biolatency: the time of a device with a known delay': async ({ pair, agent, features }) => {
    sh(`modprobe null_blk nr_devices=1 queue_mode=2 irqmode=2 completion_nsec=${IO_SECONDS * 1e9} gb=1`);
    try {
      await switchOn(agent, 'biolatency', 'threshold: 20ms');
      // On older kernels, the request belongs to the kernel thread that submits it to the device, so it counts for the
      // node.
      const owner = features.blockOwner ? pair.a.netns.name : '';
      const labels = { pod: owner, device: 'nullb0', operation: 'write' };
      pair.a.netns.exec('dd if=/dev/zero of=/dev/nullb0 bs=4k count=10 oflag=direct status=none');
      const done = await histogram(agent, 'netsonde_block_io_seconds', labels);
      equal(done.count, 10);
      // Under emulation, the device's timer may fire a few milliseconds late, but never early.
      ok(done.sum >= 10 * IO_SECONDS && done.sum < 15 * IO_SECONDS, `${done.sum} s`);
      const events = await eventually(() => {
        const found = agent.events.filter(({ type, operation }) => type === 'block_io_slow' && operation === 'write');
        equal(found.length, 10);
        return found;
      });
      for (const event of events) {
        equal(event.pod, owner);
        equal(event['bytes'], 4_096);
        match(event.message, /^nullb0 took [\d.]+ ms for a write of 4096 bytes, requested by (dd|kworker)/);
        if (features.blockOwner) equal(event['process'], 'dd');
      }
    } finally {
      sh('modprobe -r null_blk');
    }
  },
});
