import { deepEqual, equal, ok } from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { addCounters } from '#core/counter.ts';
import { udpflow } from '#probes/udpflow/udpflow.ts';
import { Inapplicable } from '../guest/check.ts';
import type { Exposition } from '../support/exposition.ts';
import { TestNetns, uniqueName } from '../support/hosts.ts';
import { only, probesOf } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { defineScenario, type ScenarioContext } from '../support/scenario.ts';
import { sendUdp, UdpServer, type UdpTraffic } from '../support/udp_traffic.ts';

const { sentBytes, receivedBytes, sentDatagrams, receivedDatagrams } = udpflow.metrics;
const NOTHING: UdpTraffic = { sent: [0, 0], received: [0, 0] };
const LOOPBACK = { ipv4: '127.0.0.1', ipv6: '::1' };
/** Number of rows per owner on kernels that allocate the memory of all rows when the map is created. */
const ROWS_OF_OWNER = 96;

const SWITCHED_ON = only({ udpflow: { enabled: true, idle: '1s' } }, { detail: 'full' });

interface Edge {
  readonly pod: string;
  readonly role?: 'client' | 'server' | '*';
  readonly peer?: string;
  readonly port?: number;
}

/** Returns the sums over all edges on a page that have these labels. */
function on(page: Exposition, { port, ...labels }: Edge): UdpTraffic {
  const wanted = Object.entries({ ...labels, ...(port === undefined ? {} : { port: String(port) }) });
  const sum = (name: string) =>
    (page.named.get(name) ?? [])
      .filter((sample) => wanted.every(([label, value]) => sample.labels[label] === value))
      .reduce((total, { value }) => Number(addCounters(total, Number(value))), 0);
  return {
    sent: [sum(sentDatagrams.name), sum(sentBytes.name)],
    received: [sum(receivedDatagrams.name), sum(receivedBytes.name)],
  };
}

function turned({ sent, received }: UdpTraffic): UdpTraffic {
  return { sent: received, received: sent };
}

function plus(a: UdpTraffic, b: UdpTraffic): UdpTraffic {
  const add = (direction: 'sent' | 'received') =>
    [a[direction][0] + b[direction][0], a[direction][1] + b[direction][1]] as const;
  return { sent: add('sent'), received: add('received') };
}

/** Calls a server in b from a, and checks that the pages show the counts of both processes. */
async function expectCall(
  { pair: { a, b, ...pair }, agent }: ScenarioContext,
  family: 'ipv4' | 'ipv6',
  port: number,
  args: { readonly count: number; readonly bytes: number; readonly style: 'connected' | 'unconnected' },
): Promise<void> {
  const [from, to] = [pair.addressA[family], pair.addressB[family]];
  await using server = await UdpServer.start(b.netns, to, port, 'reply');
  const client = sendUdp(a.netns, 'call', to, port, args.count, args.bytes, args.style);
  equal(client.sent[0], args.count);
  deepEqual(await server.end(), turned(client));
  const page = await agent.page();
  deepEqual(on(page, { pod: a.netns.name, role: 'client', peer: to, port }), client);
  deepEqual(on(page, { pod: b.netns.name, role: 'server', peer: from, port }), turned(client));
}

/** Sends buffers that contain several datagrams from a to b, and checks the counts of both processes. */
async function expectSegments(
  { pair: { a, b, ...pair }, agent }: ScenarioContext,
  family: 'ipv4' | 'ipv6',
  port: number,
  style: 'sink' | 'joined',
): Promise<void> {
  const [from, to] = [pair.addressA[family], pair.addressB[family]];
  await using server = await UdpServer.start(b.netns, to, port, style);
  // Each of the first five buffers is split into 20 datagrams of 1,200 bytes and one of 250 bytes. The last buffer is
  // sent as a single datagram.
  const sent = plus(
    sendUdp(a.netns, 'segments', to, port, 1_200, 24_250, 5),
    sendUdp(a.netns, 'segments', to, port, 1_200, 1_000, 1),
  );
  deepEqual(sent, { sent: [5 * 21 + 1, 5 * 24_250 + 1_000], received: [0, 0] });
  deepEqual(await server.end(), turned(sent));
  const page = await agent.page();
  deepEqual(on(page, { pod: a.netns.name, role: 'client', peer: to, port }), sent);
  deepEqual(on(page, { pod: b.netns.name, role: 'server', peer: from, port }), turned(sent));
}

/**
 * Frees all rows by switching the probe off and on. Before Linux 6.1, an owner has only twelve rows, and the traffic of
 * further edges is added up in the row `*`.
 */
async function freeRows({ agent }: ScenarioContext): Promise<void> {
  await agent.kernel.configure(probesOf(only({})));
  await agent.kernel.configure(probesOf(SWITCHED_ON));
}

/** Exchanges datagrams within one namespace, which contains both the client and the server. */
async function expectLoopback({ pair: { a }, agent }: ScenarioContext, peer: string, port: number): Promise<void> {
  await using server = await UdpServer.start(a.netns, peer, port, 'reply');
  const client = sendUdp(a.netns, 'call', peer, port, 7, 333, 'connected');
  deepEqual(await server.end(), turned(client));
  const page = await agent.page();
  deepEqual(on(page, { pod: a.netns.name, role: 'client', peer, port }), client);
  deepEqual(on(page, { pod: a.netns.name, role: 'server', peer, port }), turned(client));
}

const CALLS = [
  ['ipv4', 'connected', 5_301],
  ['ipv4', 'unconnected', 5_302],
  ['ipv6', 'connected', 5_303],
  ['ipv6', 'unconnected', 5_304],
] as const;

/** Kinds of packets that a device hands over, each with a number, and the way in which the server receives them. */
const OFFLOADS = [
  [1, 'fragments', 'sink'],
  [2, 'segments', 'sink'],
  [3, 'segments', 'joined'],
] as const;

export default defineScenario(udpflow, {
  options: { idle: '1s' },
  cause: async ({ pair: { a, b, ...pair } }) => {
    sendUdp(a.netns, 'scatter', pair.addressB.ipv4, 9, 3, 100);
    sendUdp(b.netns, 'scatter', pair.addressA.ipv4, 9, 3, 100);
  },
  checks: {
    'counts datagrams and payload of each edge at both ends, as their processes do': async (context) => {
      for (const [family, style, port] of CALLS) {
        await expectCall(context, family, port, { count: 11 + (port % 10), bytes: 100, style });
      }
    },
    'counts empty datagrams, and those that are longer than a packet': async (context) => {
      await expectCall(context, 'ipv4', 5_311, { count: 1, bytes: 0, style: 'unconnected' });
      await expectCall(context, 'ipv4', 5_312, { count: 3, bytes: 40_000, style: 'unconnected' });
      await expectCall(context, 'ipv6', 5_313, { count: 3, bytes: 40_000, style: 'connected' });
    },
    'counts each datagram of a buffer that holds several, sent and received': async (context) => {
      await expectSegments(context, 'ipv4', 5_321, 'sink');
      await expectSegments(context, 'ipv6', 5_322, 'sink');
      await expectSegments(context, 'ipv4', 5_323, 'joined');
      await expectSegments(context, 'ipv6', 5_324, 'joined');
    },
    'counts what a device hands over in packets that are longer than its MTU': async ({ pair: { a }, agent }) => {
      if (!existsSync('/dev/net/tun')) throw new Inapplicable('this machine cannot create tun devices');
      for (const [index, kind, style] of OFFLOADS) {
        const [host, port] = [`10.77.${index}.1`, 5_350 + index];
        await using server = await UdpServer.start(a.netns, '0.0.0.0', port, style);
        const sent = sendUdp(a.netns, 'offload', uniqueName('tu'), host, port, kind, 1_400, 6_000);
        if (kind === 'segments' && sent.sent[0] === 0)
          throw new Inapplicable('tun devices of this kernel only split datagrams into fragments (before 6.2)');
        deepEqual(await server.end(), turned(sent));
        deepEqual(on(await agent.page(), { pod: a.netns.name, role: 'server', port }), turned(sent));
      }
    },
    'sees both ends of the loopback device': async (context) => {
      await freeRows(context);
      await expectLoopback(context, LOOPBACK.ipv4, 5_331);
      await expectLoopback(context, LOOPBACK.ipv6, 5_332);
    },
    'takes the role from the range of local ports of each namespace': async (context) => {
      await freeRows(context);
      const {
        pair: { a, b, ...pair },
        agent,
      } = context;
      const [from, to] = [pair.addressA.ipv4, pair.addressB.ipv4];
      b.netns.python("open('/proc/sys/net/ipv4/ip_local_port_range', 'w').write('4100 4199')");
      for (const [port, local] of [
        [4_150, 40_001],
        [40_002, 4_151],
      ] as const) {
        await using server = await UdpServer.start(b.netns, to, port, 'reply');
        const client = sendUdp(a.netns, 'call', to, port, 2, 50, 'connected', local);
        const page = await agent.page();
        // In b, the port 4150 is in the range of local ports that the kernel assigns, and 40002 is not. In a, the
        // opposite is true.
        const [inA, inB] =
          port === 4_150
            ? ([
                { role: 'client', port },
                { role: 'client', port: local },
              ] as const)
            : ([
                { role: 'server', port: local },
                { role: 'server', port },
              ] as const);
        deepEqual(on(page, { pod: a.netns.name, peer: to, ...inA }), client);
        deepEqual(on(page, { pod: b.netns.name, peer: from, ...inB }), turned(client));
        await server.end();
      }
    },
    'is silent about TCP': async ({ pair: { a, b, addressB }, agent }) => {
      const before = await agent.page();
      await b.tcpServe({ address: addressB.ipv4, port: 5_341 });
      await a.tcpExchange({ address: addressB.ipv4, port: 5_341, count: 20, bytes: 1_000 });
      await b.tcpStop({ port: 5_341 });
      const after = await agent.page();
      for (const { netns } of [a, b]) deepEqual(on(after, { pod: netns.name }), on(before, { pod: netns.name }));
    },
    'keeps the sum of each Pod exact while edges find no row, lose theirs and get others': async (context) => {
      const { pair, agent } = context;
      const pod = pair.a.netns.name;
      let total = on(await agent.page(), { pod });
      const send = async (first: number, ports: number) => {
        total = plus(total, sendUdp(pair.a.netns, 'scatter', pair.addressB.ipv4, first, ports, 10));
        deepEqual(on(await agent.page(), { pod }), total);
      };
      const state = () => agent.kernel.probes().find(({ name }) => name === udpflow.name);
      await eventually(async () => {
        await send(10_000, ROWS_OF_OWNER + 60);
        ok(/used all \d+ rows that each Pod may have/.test(state()?.reason ?? ''), state()?.reason);
      });
      // The rows of the first ports expire while the rows of other ports are in use.
      for (let round = 0; round < 25; round++) {
        await send(10_000 + (round % 5), 3);
        await send(20_000 + 40 * round, 30);
      }
      await eventually(async () => {
        await send(10_000, 1);
        equal(state()?.state, 'running');
      });
      await send(10_000, 10);
    },
    'goes on with the totals after it was off under traffic': async ({ pair: { a, addressB }, agent }) => {
      // Compares the sum over all edges, because it depends on earlier traffic whether this edge gets a row.
      const pod = { pod: a.netns.name };
      let counted = on(await agent.page(), pod);
      for (let round = 0; round < 3; round++) {
        counted = plus(counted, sendUdp(a.netns, 'scatter', addressB.ipv6, 5_303, 1, 77));
        await agent.kernel.configure(probesOf(only({})));
        // The probe is off, so this datagram is not counted.
        sendUdp(a.netns, 'scatter', addressB.ipv6, 5_303, 1, 77);
        await agent.kernel.configure(probesOf(SWITCHED_ON));
        deepEqual(on(await agent.page(), pod), counted);
        deepEqual(on(await agent.page(), pod), counted);
      }
    },
    'removes the rows of a namespace that is gone': async ({ agent }) => {
      const resources = new DisposableStack();
      const netns = resources.use(new TestNetns());
      netns.ip('link set lo up');
      const pod = netns.name;
      await eventually(async () => {
        sendUdp(netns, 'scatter', LOOPBACK.ipv4, 9, 1, 1);
        ok(on(await agent.page(), { pod }).sent[0] > 0);
      });
      resources.dispose();
      await eventually(async () => deepEqual(on(await agent.page(), { pod }), NOTHING), 180_000);
    },
  },
});
