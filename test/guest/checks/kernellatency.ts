import { deepEqual, equal, ok } from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type BpfObject, netnsCookie, withNetns } from 'bpf-napi';
import { FILE } from '#bpf/generated/kernellatency.ts';
import { readCounter } from '#core/counter.ts';
import { HISTOGRAMS, Histograms } from '#probe/histogram.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { run, sh } from '../../support/command.ts';
import { HostPair, type TestNetns } from '../../support/hosts.ts';
import { OBJECTS, TestKernel } from '../../support/kernel.ts';
import { grown, histogramOf, type PageHistogram } from '../../support/latency.ts';
import { eventually } from '../../support/oracle.ts';
import { NO_OWNERS } from '../../support/owners.ts';
import { endpoint, FAMILIES, type Family } from '../../support/scene.ts';
import { defineChecks } from '../check.ts';

interface Context {
  readonly pair: HostPair;
  /** An agent that chose its hooks by itself. */
  readonly agent: TestKernel;
}

const HOLD = fileURLToPath(new URL('../../support/hold_packets.py', import.meta.url));
const PORT = 7_500;

/** The stages in the order of the struct. */
const STAGES = [
  'prerouting',
  'input',
  'transport',
  'output',
  'postrouting',
  'neighbour',
  'delivery',
  'device',
] as const;
const RECEIVE = STAGES.slice(0, 3);
const SEND = STAGES.slice(3, 6);

const FUNCTIONS = ['transport_v4', 'transport_v6', 'input_v4', 'input_v6'].concat(
  ['postrouting', 'output', 'sent'].flatMap((name) => [`${name}_v4`, `${name}_v6`]),
);
const TRACEPOINTS = ['packet_dropped', 'packet_queued'];
const FENTRY = [
  ...TRACEPOINTS,
  ...FUNCTIONS.map((name) => `${name}_entry`),
  ...['transport', 'received'].flatMap((name) => [`${name}_v4_exit`, `${name}_v6_exit`]),
];
const KPROBE = [
  ...TRACEPOINTS,
  ...FUNCTIONS.map((name) => `${name}_probe`),
  ...['transport', 'received'].flatMap((name) => [`${name}_v4_return`, `${name}_v6_return`]),
];
/** Programs for the function that sends TCP over IPv6. Before 6.6, this function has too many arguments for fentry. */
const TCP_V6 = { entry: 'sent_tcp_v6_entry', probe: 'sent_tcp_v6_probe' };

/** Number of packets in each stage. */
type Counts = Readonly<Record<string, number>>;

class StageCounter implements Disposable {
  readonly #object: BpfObject;
  readonly #histograms: Histograms<bigint>;

  private constructor(object: BpfObject) {
    this.#object = object;
    const map = {
      name: 'kernel_histograms',
      decodeKey: (view: DataView, at: number) => BigInt(readCounter(view, at)),
      isByNetns: true,
    };
    this.#histograms = new Histograms(object, map, STAGES.length, NO_OWNERS, { value: HISTOGRAMS.initial() });
  }

  static async open(...choices: readonly (readonly string[])[]): Promise<StageCounter> {
    const [programs = [], ...others] = choices;
    const object = await new BpfSource(OBJECTS, '/sys').load({ file: FILE, programs });
    try {
      for (const program of programs) await object.attach(program);
      return new StageCounter(object);
    } catch (error) {
      object.close();
      if (others.length === 0) throw error;
      return StageCounter.open(...others);
    }
  }

  /** Returns the counts of a namespace. Omits stages without packets. */
  counts({ path, inum }: TestNetns): Counts {
    const id = idOf(path, inum);
    const row = [...this.#histograms.rows()].find(({ key }) => key === id);
    const all = STAGES.map((stage, index) => {
      const counts = row?.histograms[index]?.counts ?? [];
      return [stage, counts.reduce<number>((sum, count) => sum + Number(count), 0)] as const;
    });
    return Object.fromEntries(all.filter(([, count]) => count > 0));
  }

  [Symbol.dispose](): void {
    this.#object.close();
  }
}

/** Returns the cookie of a namespace, or its inode number before 5.14, where a process cannot read the cookie. */
function idOf(path: string, inum: number): bigint {
  try {
    return withNetns(path, netnsCookie);
  } catch {
    return BigInt(inum);
  }
}

function less(after: Counts, before: Counts): Counts {
  const rest = Object.entries(after).map(([stage, count]) => [stage, count - (before[stage] ?? 0)] as const);
  return Object.fromEntries(rest.filter(([, count]) => count !== 0));
}

function each(stages: readonly string[], count: number): Counts {
  return count === 0 ? {} : Object.fromEntries(stages.map((stage) => [stage, count]));
}

/**
 * Retries a failed attempt. In a new namespace, the kernel sends packets of its own, such as router solicitations,
 * which change the counts.
 */
async function retry(attempt: () => Promise<void>): Promise<void> {
  for (let left = 4; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

/**
 * Returns two MIB counters: packets that the IP layer received from sockets, and packets that it delivered to transport
 * protocols.
 */
function mib(netns: TestNetns, family: Family): { sent: number; received: number } {
  if (family === 'ipv6') {
    const text = netns.exec('cat /proc/net/snmp6');
    const value = (name: string) => Number(new RegExp(`^Ip6${name}\\s+(\\d+)`, 'm').exec(text)?.[1]);
    return { sent: value('OutRequests'), received: value('InDelivers') };
  }
  const [names = '', values = ''] = netns
    .exec('cat /proc/net/snmp')
    .split('\n')
    .filter((line) => line.startsWith('Ip:'));
  const value = (name: string) => Number(values.split(' ')[names.split(' ').indexOf(name)]);
  return { sent: value('OutRequests'), received: value('InDelivers') };
}

async function compare({ pair }: Context, ...choices: readonly (readonly string[])[]): Promise<void> {
  using counter = await StageCounter.open(...choices);
  const read = () => ({ a: counter.counts(pair.a.netns), b: counter.counts(pair.b.netns) });
  for (const family of FAMILIES) {
    const address = pair.addressB[family];
    await retry(async () => {
      const before = read();
      await pair.a.udpSend({ address, port: PORT, count: 40, bytes: 100 });
      await eventually(() => deepEqual(less(read().b, before.b), each(RECEIVE, 40), `received by ${family}`));
      deepEqual(less(read().a, before.a), each(SEND, 40), `sent by ${family}`);
    });
    await retry(async () => {
      const before = { ...read(), mib: [mib(pair.a.netns, family), mib(pair.b.netns, family)] };
      await pair.a.tcpExchange({ address, port: PORT, count: 10, bytes: 1_000 });
      await eventually(() => {
        const found = read();
        for (const [index, host] of (['a', 'b'] as const).entries()) {
          const now = mib(pair[host].netns, family);
          const was = before.mib[index] ?? { sent: Number.NaN, received: Number.NaN };
          const [sent, received] = [now.sent - was.sent, now.received - was.received];
          ok(sent > 10 && received > 10);
          deepEqual(less(found[host], before[host]), { ...each(RECEIVE, received), ...each(SEND, sent) }, family);
        }
      });
    });
  }
}

/**
 * Hooks at which packets are held, each with its own port. Host a holds packets that it sends to b, and host b holds
 * packets that it receives.
 */
const HELD = [
  { stage: 'prerouting', hook: 'prerouting', host: 'b', type: 'kernel_receive_slow' },
  { stage: 'input', hook: 'input', host: 'b', type: 'kernel_receive_slow' },
  { stage: 'output', hook: 'output', host: 'a', type: 'kernel_send_slow' },
  { stage: 'postrouting', hook: 'postrouting', host: 'a', type: 'kernel_send_slow' },
] as const;
/**
 * Milliseconds for which a packet is held. This is longer than any stage normally takes, even in a guest on a busy
 * machine.
 */
const HOLD_MS = 150;
const HOLD_SECONDS = HOLD_MS / 1000;
/** The upper boundary of the largest histogram bucket below the hold time. */
const SLOW_SECONDS = 0.131072;
const HELD_PACKETS = 5;

function heldPort(index: number): number {
  return PORT + 1 + index;
}

async function holdPackets(netns: TestNetns): Promise<AsyncDisposable> {
  const child = spawn('ip', ['netns', 'exec', netns.name, 'python3', HOLD, '0', String(HOLD_MS)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const line = await new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
  equal(line, 'ready');
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  };
}

function nft({ name }: TestNetns, command: string): void {
  run('ip', 'netns', 'exec', name, 'nft', command);
}

type Growth = Readonly<Record<string, PageHistogram>>;

async function stages(agent: TestKernel, { name }: TestNetns): Promise<Growth> {
  const page = await agent.page();
  return Object.fromEntries(
    STAGES.map((stage) => {
      const direction = SEND.includes(stage) || stage === 'device' ? 'send' : 'receive';
      return [stage, histogramOf(page, `netsonde_kernel_${direction}_delay_seconds`, { pod: name, stage })];
    }),
  );
}

async function during(agent: TestKernel, netns: TestNetns, happen: () => Promise<unknown>): Promise<Growth> {
  const before = await stages(agent, netns);
  await happen();
  const after = await stages(agent, netns);
  return Object.fromEntries(
    STAGES.map((stage) => [stage, grown(before[stage] as PageHistogram, after[stage] as PageHistogram)]),
  );
}

function slowOnes(histogram: PageHistogram | undefined): number {
  return histogram?.buckets.reduce((sum, { bound, count }) => sum + (bound > SLOW_SECONDS ? count : 0), 0) ?? 0;
}

async function checkHeld({ pair, agent }: Context): Promise<void> {
  sh('modprobe -a nfnetlink_queue nft_queue');
  await using _b = await holdPackets(pair.b.netns);
  await using _a = await holdPackets(pair.a.netns);
  for (const [index, { hook, host }] of HELD.entries()) {
    const { netns } = pair[host];
    nft(netns, `add table inet ${hook}`);
    nft(netns, `add chain inet ${hook} hold { type filter hook ${hook} priority 0; }`);
    nft(netns, `add rule inet ${hook} hold udp dport ${heldPort(index)} queue num 0`);
    await pair.b.udpReceive({ address: '::', port: heldPort(index) });
  }
  for (const family of FAMILIES) {
    const address = pair.addressB[family];
    for (const [index, { stage, host, type }] of HELD.entries()) {
      const port = heldPort(index);
      let source = 0;
      agent.events.length = 0;
      const growth = await during(agent, pair[host].netns, async () => {
        source = await pair.a.udpSend({ address, port, count: HELD_PACKETS, bytes: 100 });
        await eventually(async () => ok((await pair.b.udpReceived({ port })) >= HELD_PACKETS));
        await eventually(() => equal(agent.events.filter(({ dst }) => dst?.endsWith(`:${port}`)).length, HELD_PACKETS));
      });
      const told = agent.events.filter(({ dst }) => dst?.endsWith(`:${port}`));
      for (const [other, histogram] of Object.entries(growth))
        equal(slowOnes(histogram), other === stage ? HELD_PACKETS : 0, `${other}, where ${stage} is slow`);
      // The stage also has other packets, but they passed through it quickly.
      const held = told.reduce((sum, event) => sum + Number(event[`${stage}Seconds`]), 0);
      const more = Number(growth[stage]?.sum) - held;
      ok(more > -1e-6 && more < HOLD_SECONDS, `${held} s reported for ${stage}, ${growth[stage]?.sum} s counted`);
      for (const event of told) {
        const { pod, src, dst, protocol } = event;
        const [from, to] = [endpoint(pair.addressA[family], source), endpoint(address, port)];
        deepEqual(
          { type: event.type, pod, protocol, src, dst },
          { type, pod: pair[host].netns.name, protocol: 'udp', src: from, dst: to },
        );
        const late = Number(event[`${stage}Seconds`]);
        ok(late >= HOLD_SECONDS && Number(event['delaySeconds']) < late + HOLD_SECONDS, event.message);
      }
    }
  }
  for (const { hook, host } of HELD) nft(pair[host].netns, `delete table inet ${hook}`);
}

async function checkNeighbour({ pair, agent }: Context): Promise<void> {
  const address = '10.9.0.77';
  const [link] = JSON.parse(pair.b.netns.ip(`-j link show ${pair.deviceB}`)) as { address: string }[];
  agent.events.length = 0;
  const growth = await during(agent, pair.a.netns, async () => {
    await pair.a.udpSend({ address, port: PORT, count: 1, bytes: 100 });
    await new Promise((resolve) => setTimeout(resolve, HOLD_MS));
    pair.a.netns.ip(`neigh replace ${address} lladdr ${link?.address} dev ${pair.deviceA} nud permanent`);
    await eventually(() => equal(agent.events.filter(({ dst }) => dst === `${address}:${PORT}`).length, 1));
  });
  const [event] = agent.events.filter(({ dst }) => dst === `${address}:${PORT}`);
  equal(event?.type, 'kernel_send_slow');
  ok(Number(event?.['neighbourSeconds']) >= HOLD_SECONDS);
  equal(slowOnes(growth['neighbour']), 1);
}

/** Sends packets from a to an address behind b. Host b routes them back to a, where no socket receives them. */
async function checkForwarded({ pair, agent }: Context): Promise<void> {
  const { a, b } = pair;
  b.netns.exec(
    `sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.${pair.deviceB}.send_redirects=0`,
  );
  a.netns.ip(`route add 10.99.0.0/24 via ${pair.addressB.ipv4}`);
  b.netns.ip(`route add 10.99.0.0/24 via ${pair.addressA.ipv4}`);
  const forwarded = () =>
    Number(/^Ip: (?:\S+ ){5}(\d+)/m.exec(b.netns.exec('cat /proc/net/snmp').replace(/^Ip: F.*$/m, ''))?.[1]);
  const before = forwarded();
  const counted = (growth: Growth) =>
    Object.fromEntries(Object.entries(growth).map(([stage, { count }]) => [stage, count]));
  await retry(async () => {
    const growth = await during(agent, b.netns, () =>
      a.udpSend({ address: '10.99.0.1', port: PORT, count: 30, bytes: 100 }),
    );
    deepEqual(counted(growth), Object.fromEntries(STAGES.map((stage) => [stage, 0])));
  });
  ok(forwarded() - before >= 30, 'nothing was forwarded');
  // The kernel may reuse the memory of the forwarded packets for these packets.
  const growth = await during(agent, b.netns, () =>
    a.udpSend({ address: pair.addressB.ipv4, port: PORT, count: 200, bytes: 100 }),
  );
  ok(Number(growth['transport']?.count) >= 200);
  for (const stage of RECEIVE) ok(Number(growth[stage]?.sum) < 1, stage);
}

export const kernellatency = defineChecks(
  'kernellatency',
  async (resources): Promise<Context> => {
    const pair = resources.use(await HostPair.create());
    await pair.b.udpReceive({ address: '::', port: PORT });
    await pair.b.tcpServe({ address: '::', port: PORT });
    const config = '{ probes: { packetloss: false, kernellatency: { enabled: true, threshold: 140ms } } }';
    return { pair, agent: resources.use(await TestKernel.open(config)) };
  },
  {
    'fentry sees each packet once in each stage': (context) =>
      compare(context, [...FENTRY, TCP_V6.entry], [...FENTRY, TCP_V6.probe]),
    'kprobes do, too': (context) => compare(context, [...KPROBE, TCP_V6.probe]),
    'is not degraded, and has chosen fentry': async ({ agent }) => {
      const status = agent.kernel.probes().find(({ name }) => name === 'kernellatency');
      equal(status?.state, 'running', status?.reason);
      const hooks = status?.programs.map(({ hook }) => hook) ?? [];
      for (const name of ['ip_protocol_deliver_rcu', 'ip_local_deliver', 'ip_output', 'ip_finish_output2'])
        ok(hooks.includes(`fentry/${name}`), `${name}: ${hooks.join()}`);
    },
    'a packet held in a hook is late in that stage, and reported': checkHeld,
    'a packet that waits for its neighbour is late in that stage': checkNeighbour,
    'a forwarded packet counts as neither received nor sent': checkForwarded,
  },
);
