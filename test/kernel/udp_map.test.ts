import { afterAll, beforeAll, expect, it } from 'vitest';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { sendUdp, UdpServer } from '../support/udp_traffic.ts';

const PORT = 7_657;
let pair: HostPair;

beforeAll(async () => {
  pair = await HostPair.create();
});

afterAll(() => pair?.[Symbol.asyncDispose]());

it('datagrams are edges of the map beside connections, once, as their processes count them, while udpflow runs', async () => {
  const { a, b, addressA, addressB } = pair;
  const owners = new Map([
    [addressA.ipv4, a.netns.name],
    [addressB.ipv4, b.netns.name],
  ]);
  const identify = (ip: string): PeerIdentity => {
    const name = owners.get(ip);
    return name === undefined ? UNKNOWN_PEER : { kind: 'local', namespace: '', name };
  };
  await using agent = await TestKernel.open(only({ flow: { enabled: true }, udpflow: { enabled: true } }), {
    identify,
  });
  const { kernel } = agent;
  const map = async () => {
    await agent.page();
    const told = await kernel.flows.map([]);
    if ('unavailable' in told) throw new Error(told.unavailable);
    // Other tests use the same addresses.
    const own = told.report.edges.filter(({ source, port }) => source === `local//${a.netns.name}` && port === PORT);
    return { ...told.report, edges: own };
  };
  await map();
  await using server = await UdpServer.start(b.netns, addressB.ipv4, PORT, 'reply');
  const client = sendUdp(a.netns, 'call', addressB.ipv4, PORT, 12, 100, 'connected');
  await b.tcpServe({ address: addressB.ipv4, port: PORT });
  await a.tcpExchange({ address: addressB.ipv4, port: PORT, count: 3, bytes: 10 });
  await b.tcpStop({ port: PORT });
  await server.end();
  await eventually(async () => {
    const { udp, edges } = await map();
    expect(udp).toBe('shown');
    expect(edges.find(({ protocol }) => protocol === 'tcp')).toMatchObject({ port: PORT, connections: 3 });
    expect(edges.filter(({ protocol }) => protocol === 'udp')).toMatchObject([
      {
        target: `local//${b.netns.name}`,
        port: PORT,
        seenBy: 'both',
        sentDatagrams: client.sent[0],
        sentBytes: client.sent[1],
        receivedDatagrams: client.received[0],
        receivedBytes: client.received[1],
      },
    ]);
  });
});
