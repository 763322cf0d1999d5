import { afterAll, beforeAll, expect, it } from 'vitest';
import { canFilterPods } from '#config/schema.ts';
import { PROBES } from '#probes/index.ts';
import { SCENARIO_NAMES } from '../scenarios/all.ts';
import { LoopDevice } from '../support/block.ts';
import { CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { run, sh } from '../support/command.ts';
import type { Exposition } from '../support/exposition.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair, startPython, TestNetns } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

/** Probes that accept a Pod filter and have no scenario. The filters of other probes are tested by their scenarios. */
const FILTERABLE = PROBES.filter((probe) => canFilterPods(probe) && !SCENARIO_NAMES.includes(probe.name));
const SHOWN = new Map(
  FILTERABLE.flatMap(({ name, metrics }) =>
    Object.values(metrics as Record<string, { name: string }>).map((metric) => [metric.name, name]),
  ),
);
const DROPS = 'netsonde_packet_drops_total';
const REFUSED = 7_001;

const resources = new AsyncDisposableStack();
let pair: HostPair;
let loop: LoopDevice;

beforeAll(async () => {
  pair = resources.use(await HostPair.create());
  loop = resources.use(new LoopDevice());
  for (const host of [pair.a, pair.b]) {
    for (const rule of [
      'add table inet t',
      'add chain inet t in { type filter hook input priority 0; }',
      `add rule inet t in tcp dport ${REFUSED} drop`,
    ]) {
      run('ip', 'netns', 'exec', host.netns.name, 'nft', rule);
    }
    await host.tcpServe({ address: '0.0.0.0', port: 7_002 });
  }
});

afterAll(() => resources.disposeAsync());

function configOf(pods: object): string {
  return only(Object.fromEntries(FILTERABLE.map(({ name }) => [name, { enabled: true, detail: 'full', ...pods }])));
}

/** Causes the same traffic in both directions: resets, retransmissions, drops, data transfers and disk requests. */
async function traffic(): Promise<void> {
  const ways = [
    { from: pair.a, address: pair.addressB.ipv4 },
    { from: pair.b, address: pair.addressA.ipv4 },
  ];
  await Promise.all(
    ways.map(async ({ from, address }) => {
      await from.tcpExchange({ address, port: 7_002, count: 5, bytes: 100 });
      await from.tcpTry({ address, port: REFUSED, timeoutMs: 1_600 });
      await from.tcpTry({ address, port: 7_003, timeoutMs: 30_000 });
      from.netns.exec(`dd if=${loop.path} of=/dev/null bs=4k count=3 iflag=direct status=none`);
    }),
  );
}

/** Returns `PROBE POD` for each series of the pair and of the node whose value is not zero. */
function seen(page: Exposition): string[] {
  const mine = new Set(['', pair.a.netns.name, pair.b.netns.name]);
  const found = page.samples.flatMap(({ name, labels, value }) => {
    const probe = SHOWN.get(name) ?? SHOWN.get(name.replace(/_(count|sum|bucket)$/, ''));
    const { pod } = labels;
    return probe !== undefined && pod !== undefined && mine.has(pod) && Number(value) > 0 ? [`${probe} ${pod}`] : [];
  });
  return [...new Set(found)].sort();
}

it('every eBPF probe shows the Pods of its filter and no others, and continues its counts', async () => {
  await using agent = await TestKernel.open(configOf({}));
  await traffic();
  const [a, b] = [pair.a.netns.name, pair.b.netns.name];
  const everybody = FILTERABLE.flatMap(({ name }) => [`${name} ${a}`, `${name} ${b}`]);
  await eventually(async () => expect(seen(await agent.page())).toEqual(expect.arrayContaining(everybody)));
  const before = sampleValue(await agent.page(), DROPS, { pod: b, reason: 'NETFILTER_DROP' }) ?? 0;

  agent.events.length = 0;
  await agent.kernel.configure(probesOf(configOf({ pods: { names: [b] } })));
  expect(agent.kernel.probes().filter(({ state }) => state === 'failed')).toEqual([]);
  agent.events.length = 0;
  await traffic();
  await eventually(() => expect(agent.events.some(({ probe }) => probe === 'tcpreset')).toBe(true));
  const filtered = await agent.page();
  expect(seen(filtered)).toEqual(FILTERABLE.map(({ name }) => `${name} ${b}`).sort());
  const names = new Set(FILTERABLE.map(({ name }) => name));
  expect(new Set(agent.events.filter(({ probe }) => names.has(probe)).map(({ pod }) => pod))).toEqual(new Set([b]));
  expect(sampleValue(filtered, DROPS, { pod: b, reason: 'NETFILTER_DROP' })).toBeGreaterThan(before);

  await agent.kernel.configure(probesOf(configOf({})));
  const after = await agent.page();
  expect(seen(after)).toEqual(expect.arrayContaining(everybody));
  for (const pod of [a, b]) {
    expect(sampleValue(after, DROPS, { pod, reason: 'NETFILTER_DROP' })).toBeGreaterThanOrEqual(before);
  }
});

it('costs other Pods nothing but the filter', async () => {
  const drop = async () => {
    await pair.a.udpSend({ address: pair.addressB.ipv4, port: 7_009, count: 2_000, bytes: 100 });
  };
  const perRun = async (pods: object) => {
    const config = only({ packetloss: pods });
    await using agent = await TestKernel.open(config);
    await agent.kernel.configure(probesOf(config), true);
    const programOf = () => agent.kernel.probes().find(({ name }) => name === 'packetloss')?.programs[0];
    const before = programOf();
    await drop();
    const after = programOf();
    const runs = (after?.runs ?? 0) - (before?.runs ?? 0);
    expect(runs).toBeGreaterThanOrEqual(2_000);
    const page = await agent.page();
    return {
      nanoseconds: (((after?.runSeconds ?? 0) - (before?.runSeconds ?? 0)) * 1e9) / runs,
      drops: sampleValue(page, DROPS, { pod: pair.b.netns.name, reason: 'NO_SOCKET' }),
      runsShown: sampleValue(page, 'netsonde_probe_bpf_runs_total', { probe: 'packetloss' }),
      produced: (await agent.kernel.page('text')).ledger.find(({ probe }) => probe === 'packetloss')?.produced,
    };
  };
  const all = await perRun({});
  const filtered = await perRun({ pods: { names: ['nobody-at-all'] } });
  expect(all.drops).toBe(2_000);
  expect(all.runsShown).toBeGreaterThanOrEqual(2_000);
  expect(filtered.drops).toBeUndefined();
  expect(filtered.produced).toBe(0);
  process.stdout.write(
    `packetloss a drop: ${all.nanoseconds.toFixed(0)} ns, of a filtered-out Pod ${filtered.nanoseconds.toFixed(0)} ns\n`,
  );
});

it('follows Pods as Kubernetes reports them, from the moment that their entity is known', async () => {
  const selector = 'app in (web),tier!=back';
  await using agent = await TestKernel.open(only({ packetloss: { pods: { namespaces: ['shop'], selector } } }), {
    kubernetes: true,
  });
  const tell = (uid: string, namespace: string, labels: Record<string, string>) =>
    agent.kernel.namePods({
      whole: false,
      set: [
        {
          uid,
          namespace,
          name: `pod-${uid}`,
          labels,
          workload: { kind: '', name: '' },
          hostNetwork: false,
          createdMs: 0,
          ips: [],
        },
      ],
      deleted: [],
    });
  /** Starts a process in a new Pod with its own namespace. It drops datagrams on request. */
  const start = async (labels: Record<string, string>, namespace = 'shop') => {
    await using stack = new AsyncDisposableStack();
    const netns = stack.use(new TestNetns());
    netns.ip('link set lo up');
    const pod = stack.use(new TestPod(CGROUP_V2));
    tell(pod.uid, namespace, labels);
    stack.use(await startPython(netns, "import time\nprint('ready')\ntime.sleep(600)"));
    const pid = Number(sh(`ip netns pids ${netns.name}`).trim().split('\n')[0]);
    pod.add(pid);
    await eventually(async () => {
      const known = (await agent.kernel.entities()).find(({ netns: id }) => id === String(netns.cookie));
      expect(known?.uid).toBe(pod.uid);
    });
    return { netns, pod, owned: stack.move() };
  };
  const dropsOf = async ({ netns, pod }: { netns: TestNetns; pod: TestPod }) => {
    netns.python(
      "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'x', ('127.0.0.1', 7010))",
    );
    return sampleValue(await agent.page(), DROPS, { pod: `pod-${pod.uid}`, reason: 'NO_SOCKET' });
  };
  const web = await start({ app: 'web' });
  await using _web = web.owned;
  expect(await dropsOf(web)).toBe(1);
  const back = await start({ app: 'web', tier: 'back' });
  await using _back = back.owned;
  const elsewhere = await start({ app: 'web' }, 'data');
  await using _elsewhere = elsewhere.owned;
  expect(await dropsOf(back)).toBeUndefined();
  expect(await dropsOf(elsewhere)).toBeUndefined();
  expect(await dropsOf(web)).toBe(2);
  tell(web.pod.uid, 'shop', { app: 'old' });
  tell(back.pod.uid, 'shop', { app: 'web' });
  expect(await dropsOf(back)).toBe(1);
  expect(await dropsOf(web)).toBeUndefined();
});
