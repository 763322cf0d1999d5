import { deepEqual, equal, match } from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { run, sh } from '../../support/command.ts';
import type { Sample } from '../../support/exposition.ts';
import { only, TestKernel } from '../../support/kernel.ts';
import { eventually, readBoth } from '../../support/oracle.ts';
import { defineChecks } from '../check.ts';

const DEVICE = 'rxe0';
const PORT = `/sys/class/infiniband/${DEVICE}/ports/1`;
/**
 * The agent's traffic metrics, by the name of the file in sysfs. The factor is the number of bytes or packets per unit
 * in that file.
 */
const TRAFFIC: Readonly<Record<string, readonly [metric: string, factor: number]>> = {
  port_rcv_data: ['received_bytes', 4],
  port_xmit_data: ['sent_bytes', 4],
  port_rcv_packets: ['received_packets', 1],
  port_xmit_packets: ['sent_packets', 1],
  rcvd_bytes: ['received_bytes', 1],
  sent_bytes: ['sent_bytes', 1],
  rcvd_pkts: ['received_packets', 1],
  sent_pkts: ['sent_packets', 1],
};

type Numbers = Readonly<Record<string, number>>;

/** Runs `ibv_rc_pingpong` over the device as a server or as a client, both of which run on this machine. */
function pingpong(...args: readonly string[]): { child: ChildProcess; ended: Promise<number | null> } {
  const child = spawn('ibv_rc_pingpong', ['-d', DEVICE, '-g', '1', '-n', '50', ...args], { stdio: 'ignore' });
  return { child, ended: new Promise((resolve) => child.once('exit', resolve)) };
}

/** Creates a Soft RoCE device on a network device that has no peer, so it can only send to itself. */
async function open(resources: AsyncDisposableStack): Promise<TestKernel> {
  sh('modprobe -a rdma_rxe ib_uverbs');
  const agent = resources.use(await TestKernel.open(only({ rdma: true }, { detail: 'full' })));
  sh('ip link add roce0 type dummy');
  resources.defer(() => void sh('ip link del roce0'));
  sh('ip addr add 10.8.0.1/24 dev roce0');
  sh('ip link set roce0 up');
  return agent;
}

async function ourSamples(agent: TestKernel): Promise<readonly Sample[]> {
  return (await agent.page()).samples.filter(({ name }) => name.startsWith('netsonde_rdma_'));
}

async function state(agent: TestKernel): Promise<string> {
  await agent.page();
  const status = agent.kernel.probes().find(({ name }) => name === 'rdma');
  return `${status?.state} ${status?.reason}`;
}

/** Returns the expected values, read from sysfs, by metric or counter name. */
function fileCounters(): Numbers {
  const expected: Record<string, number> = {};
  for (const group of ['counters', 'hw_counters'].filter((name) => readdirSync(PORT).includes(name))) {
    for (const name of readdirSync(`${PORT}/${group}`).filter((file) => file !== 'lifespan')) {
      const value = Number(readFileSync(`${PORT}/${group}/${name}`, 'utf8'));
      const [metric, factor] = TRAFFIC[name] ?? [name, 1];
      expected[metric] = value * factor;
    }
  }
  return expected;
}

function toolCounters(): Numbers {
  const [row = {}] = JSON.parse(run('rdma', '-j', 'statistic', 'show', 'link', `${DEVICE}/1`)) as Numbers[];
  return Object.fromEntries(
    Object.entries(row)
      .filter(([name]) => name !== 'ifname' && name !== 'port')
      .map(([name, value]) => [TRAFFIC[name]?.[0] ?? name, value]),
  );
}

async function ourCounters(agent: TestKernel): Promise<Numbers> {
  const shown: Record<string, number> = {};
  for (const { name, labels, value } of await ourSamples(agent)) {
    if (labels['port'] === undefined) continue;
    deepEqual([labels['namespace'], labels['pod'], labels['device'], labels['port']], ['', '', DEVICE, '1']);
    const metric = /^netsonde_rdma_port_(.*)_total$/.exec(name)?.[1] ?? name;
    shown[metric === 'counters' ? `${labels['counter']}` : metric] = Number(value);
  }
  return shown;
}

function toolResources(): Numbers {
  const rows = JSON.parse(run('rdma', '-j', 'resource', 'show')) as Record<string, unknown>[];
  const row = rows.find(({ ifname }) => ifname === DEVICE) ?? {};
  return Object.fromEntries(Object.entries(row).filter(([name]) => !name.startsWith('if'))) as Numbers;
}

async function compareResources(agent: TestKernel): Promise<Numbers> {
  const { oracle, ours } = await readBoth(toolResources, async () => {
    const samples = (await ourSamples(agent)).filter(({ name }) => name === 'netsonde_rdma_resources');
    return Object.fromEntries(samples.map(({ labels, value }) => [`${labels['resource']}`, Number(value)]));
  });
  deepEqual(ours, oracle);
  return ours;
}

export const rdma = defineChecks<TestKernel>('rdma', open, {
  'waits for a device, and shows a new one': async (agent) => {
    match(await state(agent), /^degraded no RDMA device found/);
    deepEqual(await ourSamples(agent), []);
    sh(`rdma link add ${DEVICE} type rxe netdev roce0`);
    equal(await state(agent), 'running ');
    const unknown = (await ourSamples(agent)).find(({ name }) => name === 'netsonde_rdma_unknown_names');
    deepEqual([unknown?.labels['device'], unknown?.value], [DEVICE, '0']);
  },

  'counters equal sysfs and rdma statistic, under traffic': async (agent) => {
    const server = pingpong();
    await eventually(async () => equal(await pingpong('127.0.0.1').ended, 0), 10_000);
    equal(await server.ended, 0);
    const { oracle, ours } = await readBoth(
      () => [fileCounters(), toolCounters()],
      () => ourCounters(agent),
    );
    const [files = {}, tool = {}] = oracle;
    deepEqual(ours, files);
    for (const [name, value] of Object.entries(tool)) equal(ours[name], value, name);
    equal(Number(ours['rdma_sends']) >= 100, true);
    equal(Number(ours['sent_packets']) >= 100, true);
  },

  'objects in use by the kernel and by a process equal rdma resource': async (agent) => {
    const idle = await compareResources(agent);
    const server = pingpong();
    // The server creates its queue pair last, so the check waits for it.
    await eventually(() => equal(toolResources()['qp'], Number(idle['qp']) + 1), 10_000);
    const busy = await compareResources(agent);
    server.child.kill();
    await server.ended;
    deepEqual(
      ['qp', 'cq', 'mr', 'pd', 'ctx'].map((name) => Number(busy[name]) - Number(idle[name])),
      [1, 1, 1, 1, 1],
    );
  },

  'shows nothing for a removed device': async (agent) => {
    sh(`rdma link delete ${DEVICE}`);
    deepEqual(await ourSamples(agent), []);
    match(await state(agent), /^degraded no RDMA device found/);
  },
});
