import { afterAll, beforeAll, expect, it } from 'vitest';
import { CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { sampleValue } from '../support/exposition.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { startIn } from '../support/pod_processes.ts';

const SENT = 'netsonde_udp_flow_sent_datagrams_total';
const PORT = 7_690;
const DATAGRAMS = 40;

/** Sends datagrams to a socket of the same process. */
const PROGRAM = `
import socket, time
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(('127.0.0.1', ${PORT}))
client = socket.socket(type=socket.SOCK_DGRAM)
client.connect(('127.0.0.1', ${PORT}))
for _ in range(${DATAGRAMS}): client.send(b'x')
time.sleep(1000)
`;

let agent: TestKernel;

beforeAll(async () => {
  agent = await TestKernel.open(only({ udpflow: { enabled: true } }), { kubernetes: true });
});

afterAll(() => agent?.[Symbol.asyncDispose]());

async function sent(pod: string): Promise<number | undefined> {
  return sampleValue(await agent.page(), SENT, { pod, role: 'client', peer: '127.0.0.1', port: String(PORT) });
}

it('datagrams in the namespace of the node count for the Pod of the socket’s cgroup, and not for the node', async () => {
  await using pod = new TestPod(CGROUP_V2);
  await using _process = await startIn(pod.container, undefined, ['python3', '-c', PROGRAM]);
  await eventually(async () => expect(await sent(pod.uid)).toBe(DATAGRAMS));
  expect(await sent('')).toBeUndefined();
});
