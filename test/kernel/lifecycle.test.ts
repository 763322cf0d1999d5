import { execFile, execFileSync } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { CGROUP_V1, CGROUP_V2, makePods, TestPod } from '../support/cgroups.ts';
import { type Exposition, sampleValue } from '../support/exposition.ts';
import { Host, TestNetns } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { ManyNetns } from '../support/many_netns.ts';
import { eventually } from '../support/oracle.ts';
import { liveShortly, liveShortlySync, oracleOf, totalsOf } from '../support/short_pods.ts';

const run = promisify(execFile);

function departureOf(agent: TestKernel, pod: string): EventRecord | undefined {
  const events = agent.events.filter((event) => event['type'] === 'pod_departed' && event['pod'] === pod);
  expect(events.length).toBeLessThanOrEqual(1);
  return events[0];
}

/** Returns how many final counters did not fit in the ring. */
async function lostDeaths(agent: TestKernel): Promise<number> {
  const labels = { probe: 'lifecycle', cause: 'map_full' };
  return sampleValue(await agent.page(), 'netsonde_probe_uncounted_total', labels) ?? 0;
}

/** Repeats an attempt if it failed while other tests removed more namespaces than the ring has space for. */
async function undisturbed(agent: TestKernel, attempt: () => Promise<void>): Promise<void> {
  for (;;) {
    const before = await lostDeaths(agent);
    try {
      return await attempt();
    } catch (error) {
      if ((await lostDeaths(agent)) === before) throw error;
    }
  }
}

describe.each([
  ['v1', CGROUP_V1],
  ['v2', CGROUP_V2],
])('Pods in cgroups %s that live for milliseconds', (_, hierarchy) => {
  const COUNT = 60;
  let agent: TestKernel;
  beforeAll(async () => {
    agent = await TestKernel.open(only({ tcp: true, udp: true, lifecycle: { share: 1 } }, { detail: 'full' }));
  });
  afterAll(() => agent[Symbol.asyncDispose]());

  it('are seen, and their last counters are exact', () =>
    undisturbed(agent, async () => {
      await using stack = new AsyncDisposableStack();
      const pods = await makePods(stack, hierarchy, COUNT);
      const startMs = performance.now();
      const texts = await liveShortly(pods);
      await eventually(() => {
        for (const { uid } of pods) expect(departureOf(agent, uid)).toBeDefined();
      });
      const seconds = (performance.now() - startMs) / 1_000;
      for (const [index, { uid }] of pods.entries()) {
        expect(departureOf(agent, uid)).toMatchObject({
          probe: 'lifecycle',
          kind: 'pod',
          uid,
          ...totalsOf(texts[index] ?? ''),
        });
        expect(departureOf(agent, uid)?.['livedSeconds']).toBeLessThan(seconds);
      }
      for (let scrape = 0; scrape < 2; scrape++) {
        const page = await agent.page();
        for (const [index, { uid }] of pods.entries()) {
          const of = oracleOf(texts[index] ?? '');
          const shown = (name: string, labels = {}) => sampleValue(page, name, { pod: uid, ...labels });
          expect(shown('netsonde_udp_sent_datagrams_total', { family: 'ipv4' })).toBe(of('Udp', 'OutDatagrams'));
          expect(shown('netsonde_udp_sent_datagrams_total', { family: 'ipv6' })).toBe(index + 1);
          expect(shown('netsonde_tcp_attempt_fails_total')).toBe(2 * (index + 2));
        }
      }
    }));
});

describe('with the probe off', () => {
  it('the programs, which belong to discovery, stay; switching the probe on and off loads none and loses no count', async () => {
    await using agent = await TestKernel.open(only({ lifecycle: true }));
    const programs = () => agent.kernel.discovery().programs.map(({ name, id }) => ({ name, id }));
    const before = programs();
    expect(before.map(({ name }) => name).sort()).toEqual(['process_executes', 'work_queued', 'work_starts']);
    await using stack = new AsyncDisposableStack();
    const [first, second, third] = await makePods(stack, CGROUP_V2, 3);
    if (first === undefined || second === undefined || third === undefined) throw new Error('no Pods');
    const departures = async () => sampleValue(await agent.page(), 'netsonde_departures_total', { counters: 'exact' });
    await liveShortly([first]);
    await eventually(() => expect(departureOf(agent, first.uid)).toBeDefined());
    const counted = await departures();
    await agent.kernel.configure(probesOf(only({})));
    expect(programs()).toEqual(before);
    await liveShortly([second]);
    await eventually(async () => {
      const page = await agent.page();
      expect(page.samples.filter(({ labels }) => labels['pod'] === second.uid)).toEqual([]);
      expect((await agent.kernel.entities()).some(({ uid }) => uid === second.uid)).toBe(false);
    });
    await agent.kernel.configure(probesOf(only({ lifecycle: true })));
    expect(programs()).toEqual(before);
    // Pods of other tests may also end during this test.
    expect(Number(await departures())).toBeGreaterThanOrEqual(Number(counted));
    await liveShortly([third]);
    await eventually(() => expect(departureOf(agent, third.uid)).toBeDefined());
    expect(departureOf(agent, second.uid)).toBeUndefined();
  });
});

it('discovery reports its programs as a probe does', async () => {
  await using agent = await TestKernel.open(only({}));
  expect(agent.kernel.discovery()).toMatchObject({ name: 'discovery', state: 'running', reader: 'tp_btf', reason: '' });
  const page = await agent.page();
  const probe = 'discovery';
  expect(sampleValue(page, 'netsonde_probe_state', { probe, state: 'running' })).toBe(1);
  expect(sampleValue(page, 'netsonde_probe_hook_info', { probe, hook: 'tp_btf/sched_process_exec' })).toBe(1);
  expect(sampleValue(page, 'netsonde_probe_missed_total', { probe, program: 'work_starts' })).toBe(0);
  expect(sampleValue(page, 'netsonde_probe_uncounted_total', { probe, cause: 'untracked' })).toBe(0);
  expect(sampleValue(page, 'netsonde_bpf_map_bytes', { map: 'discovery/records' })).toBeGreaterThan(1 << 19);
  expect((await agent.kernel.hooks())[0]).toMatchObject({
    probe,
    statuses: [{ hooks: ['tp_btf/sched_process_exec'], reason: '' }, { reason: '' }],
  });
});

/** Sends more datagrams to a socket than fit into its buffer. Runs for a second, and prints the kernel's counters. */
const LOSSY = `
import socket, subprocess, sys, time
subprocess.run(['ip', 'link', 'set', 'lo', 'up'], check=True)
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
receiver.bind(('127.0.0.1', 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _ in range(40): sender.sendto(b'x' * 1000, receiver.getsockname())
time.sleep(1)
print(open('/proc/self/net/snmp').read(), open('/proc/self/net/netstat').read(), open('/proc/self/net/snmp6').read(), sep='', end='')
`;

async function liveLossy(pod: TestPod): Promise<string> {
  const script = 'echo $$ > "$0/cgroup.procs"; exec unshare -n python3 -c "$1"';
  const { stdout } = await run('sh', ['-c', script, pod.container, LOSSY]);
  return stdout;
}

describe('a Pod that lives for a second and loses packets', () => {
  it('is named by the events of its drops, and shown with its last counters until they expire', async () => {
    await using agent = await TestKernel.open(
      only({ packetloss: true, udp: true, lifecycle: { retire: '5s', share: 1 } }, { detail: 'full' }),
    );
    await using pod = new TestPod(CGROUP_V2);
    const text = await liveLossy(pod);
    const of = oracleOf(text);
    const lost = of('Udp', 'RcvbufErrors');
    expect(lost).toBeGreaterThan(10);
    await eventually(() => expect(departureOf(agent, pod.uid)).toMatchObject({ udpDrops: lost }));
    expect(departureOf(agent, pod.uid)).toMatchObject(totalsOf(text));
    expect(departureOf(agent, pod.uid)?.['livedSeconds']).toBeGreaterThan(1);
    expect(departureOf(agent, pod.uid)?.['message']).toContain(`${lost} UDP datagrams dropped`);

    const drops = agent.events.filter((event) => event['type'] === 'packet_drop' && event['pod'] === pod.uid);
    expect(drops.length).toBe(lost);
    const isShown = ({ samples }: Exposition) => samples.some(({ labels }) => labels['pod'] === pod.uid);
    let shown = 0;
    for (let page = await agent.page(); isShown(page); page = await agent.page()) {
      shown++;
      const udp = { pod: pod.uid, family: 'ipv4' };
      expect(sampleValue(page, 'netsonde_udp_sent_datagrams_total', udp)).toBe(40);
      expect(sampleValue(page, 'netsonde_packet_drops_total', { pod: pod.uid, reason: 'SOCKET_RCVBUFF' })).toBe(lost);
      expect(sampleValue(page, 'netsonde_entities_retired', {})).toBeGreaterThan(0);
      await wait(100);
    }
    expect(shown).toBeGreaterThan(0);
    expect((await agent.kernel.entities()).some(({ uid }) => uid === pod.uid)).toBe(false);
  });
});

it('values from files are shown as of the last scrape', async () => {
  await using agent = await TestKernel.open(only({ netdev: { loopback: true }, lifecycle: true }, { detail: 'full' }));
  const netns = new TestNetns();
  netns.ip('link set lo up');
  const labels = { pod: netns.name, device: 'lo' };
  const sent = async () => sampleValue(await agent.page(), 'netsonde_netdev_sent_packets_total', labels);
  {
    await using host = await Host.start(netns);
    await host.udpSend({ address: '127.0.0.1', port: 9, count: 7, bytes: 1 });
    await eventually(async () => expect(await sent()).toBeGreaterThanOrEqual(7));
  }
  const last = await sent();
  netns[Symbol.dispose]();
  expect(await sent()).toBe(last);
  await eventually(async () => {
    expect(departureOf(agent, netns.name)).toMatchObject({ kind: 'netns', udpDatagrams: 7 });
  });
  expect(await sent()).toBe(last);
});

it('a Pod whose processes are gone but whose namespace is still mounted stays a Pod', async () => {
  await using agent = await TestKernel.open(only({ lifecycle: true }));
  await using pod = new TestPod(CGROUP_V2);
  const netns = new TestNetns();
  {
    await using host = await Host.start(netns);
    pod.add(host.pid);
    const shown = async () => (await agent.kernel.entities()).find(({ uid }) => uid === pod.uid);
    await eventually(async () => expect(await shown()).toMatchObject({ kind: 'pod' }));
  }
  await wait(2_000);
  expect(await agent.kernel.entities()).toContainEqual(expect.objectContaining({ kind: 'pod', uid: pod.uid }));
  netns[Symbol.dispose]();
  await eventually(() => expect(departureOf(agent, pod.uid)).toMatchObject({ kind: 'pod', uid: pod.uid }));
});

it('without the hooks only the last scrape is left, and the probe reports that', async () => {
  await using agent = await TestKernel.open(only({ udp: true, lifecycle: true }, { detail: 'full' }), {
    objects: '/nonexistent',
  });
  const status = agent.kernel.probes().find(({ name }) => name === 'lifecycle');
  expect(status).toMatchObject({ state: 'degraded', reader: 'scan', reason: expect.stringContaining('not built') });
  expect(agent.kernel.discovery()).toMatchObject({ name: 'discovery', state: 'degraded', reason: status?.reason });
  const netns = new TestNetns();
  netns.ip('link set lo up');
  const sent = async () =>
    sampleValue(await agent.page(), 'netsonde_udp_sent_datagrams_total', { pod: netns.name, family: 'ipv4' });
  {
    await using host = await Host.start(netns);
    await host.udpSend({ address: '127.0.0.1', port: 9, count: 7, bytes: 1 });
    await eventually(async () => expect(await sent()).toBe(7));
  }
  netns[Symbol.dispose]();
  await eventually(() => expect(departureOf(agent, netns.name)).toBeDefined());
  expect(departureOf(agent, netns.name)).not.toHaveProperty('udpDatagrams');
  expect(departureOf(agent, netns.name)?.['message']).toMatch(/are unknown/);
  expect(await sent()).toBe(7);
});

/** Creates and leaves this number of namespaces, and waits until the kernel has removed them. */
const CHURN = `
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
for _ in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0: os._exit(libc.unshare(0x40000000) != 0)
    if os.waitpid(child, 0)[1] != 0: sys.exit('no namespace')
time.sleep(3)
`;

it('a flood of unowned namespaces takes no space from the deaths of Pods', async () => {
  const DEATHS = 200;
  await using agent = await TestKernel.open(only({ lifecycle: true }));
  await undisturbed(agent, async () => {
    // execFileSync blocks the event loop, so the ring is not drained while the namespaces are destroyed. The ring has
    // space for the final counters of 116 namespaces.
    execFileSync('python3', ['-c', CHURN, String(DEATHS)]);
    await using stack = new AsyncDisposableStack();
    const pods = await makePods(stack, CGROUP_V2, 1);
    const [text = ''] = await liveShortly(pods);
    await eventually(() => expect(departureOf(agent, pods[0]?.uid ?? '')).toMatchObject(totalsOf(text)));
  });
});

/** Removes the mounts of named namespaces, and waits until the kernel has destroyed them. */
const REMOVE = `
import ctypes, sys, time
libc = ctypes.CDLL(None)
for path in sys.argv[1:]:
    if libc.umount2(path.encode(), 2): sys.exit('not mounted')
time.sleep(3)
`;

it('the deaths of more namespaces than the ring has space for leave space for the births of Pods', async () => {
  await using agent = await TestKernel.open(only({ lifecycle: true, packetloss: { limit: 10_000 } }));
  await using many = await ManyNetns.create(150);
  await eventually(async () => {
    const listed = new Set((await agent.kernel.entities()).map(({ pod }) => pod));
    expect(many.names.filter((name) => !listed.has(name))).toEqual([]);
  });
  await using stack = new AsyncDisposableStack();
  const pods = await makePods(stack, CGROUP_V2, 1);
  execFileSync('python3', ['-c', REMOVE, ...many.names.map((name) => `/run/netns/${name}`)]);
  liveShortlySync(pods);
  expect(await lostDeaths(agent)).toBeGreaterThan(0);
  // Only its birth tells to which Pod the namespace of the dropped packets belonged.
  const drops = () => agent.events.filter(({ type, pod }) => type === 'packet_drop' && pod === pods[0]?.uid);
  await eventually(() => expect(drops().length).toBeGreaterThan(0));
});
