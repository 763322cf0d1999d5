import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { TcpWalk } from '#sources/sockets/tcp_walk.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { playScene } from '../support/scene.ts';

const PORT = 7_600;
const BYTES = 1_000;
const SEND = `
server, client, peer = connected(${PORT})
client.sendall(bytes(${BYTES}))
left = ${BYTES}
while left: left -= len(peer.recv(left))
client.close(); peer.close(); server.close()
`;

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(only({ flow: { enabled: true, identity: 'address' } }));
});

afterAll(async () => {
  vi.restoreAllMocks();
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

async function sent(): Promise<number | undefined> {
  const labels = { pod: pair.a.netns.name, role: 'client', peer: pair.addressB.ipv4, port: String(PORT) };
  return sampleValue(await agent.page(), 'netsonde_flow_sent_bytes_total', labels);
}

const status = () => agent.kernel.probes().find(({ name }) => name === 'flow');

it('rows keep their values while the walk over the open sockets fails, and the probe reports that', async () => {
  await playScene(pair, 'ipv4', SEND);
  await eventually(async () => expect(await sent()).toBe(BYTES));
  const read = vi.spyOn(TcpWalk.prototype, 'read').mockRejectedValue(new Error('TCP sockets took 100 ms'));
  await playScene(pair, 'ipv4', SEND);
  expect(await sent()).toBe(BYTES);
  expect(status()).toMatchObject({
    state: 'degraded',
    reason: expect.stringContaining('TCP connections are shown as of the previous walk: TCP sockets took 100 ms'),
  });
  read.mockRestore();
  await eventually(async () => expect(await sent()).toBe(2 * BYTES));
  expect(status()?.reason).not.toContain('last values');
});
