import { afterAll, beforeAll, expect, it } from 'vitest';
import { CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { sampleValue } from '../support/exposition.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { startIn } from '../support/pod_processes.ts';

const QUERIES = 23;
/** An address of the loopback device on which nothing else listens. */
const SERVER = '127.77.0.53';

/** Answers its own queries with NXDOMAIN. */
const PROGRAM = `
import socket, time
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(('${SERVER}', 53))
client = socket.socket(type=socket.SOCK_DGRAM)
client.connect(('${SERVER}', 53))
for number in range(${QUERIES}):
    question = b'\\x04name\\x04test\\0\\0\\x01\\0\\x01'
    client.send(number.to_bytes(2, 'big') + b'\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0' + question)
    message, peer = server.recvfrom(512)
    server.sendto(message[:2] + b'\\x81\\x83' + message[4:], peer)
    client.recv(512)
time.sleep(1000)
`;

let agent: TestKernel;

beforeAll(async () => {
  agent = await TestKernel.open(only({ dns: { enabled: true } }), { kubernetes: true });
});

afterAll(() => agent?.[Symbol.asyncDispose]());

it('queries in the namespace of the node count for the Pod of the socket’s cgroup', async () => {
  const before = await agent.page();
  const answersOf = async (pod: string, role: string) =>
    sampleValue(await agent.page(), 'netsonde_dns_answers_total', { pod, role, rcode: 'nxdomain' });
  const ofNode = sampleValue(before, 'netsonde_dns_queries_total', { pod: '', role: 'server', qtype: 'a' });
  await using pod = new TestPod(CGROUP_V2);
  await using _process = await startIn(pod.container, undefined, ['python3', '-c', PROGRAM]);
  for (const role of ['client', 'server'])
    await eventually(async () => expect(await answersOf(pod.uid, role)).toBe(QUERIES));
  const after = await agent.page();
  expect(sampleValue(after, 'netsonde_dns_queries_total', { pod: '', role: 'server', qtype: 'a' })).toBe(ofNode);
});
