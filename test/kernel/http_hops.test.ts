import { afterAll, beforeAll, expect, it } from 'vitest';
import { http } from '#probes/http/http.ts';
import { CGROUP_V2, TestPod } from '../support/cgroups.ts';
import { sampleValue } from '../support/exposition.ts';
import { HostPair, startPython } from '../support/hosts.ts';
import { HttpProcess, runHttp } from '../support/http_traffic.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { startIn } from '../support/pod_processes.ts';

const [APPLICATION, SIDECAR] = [8_101, 15_006];
/** An address of the loopback device on which nothing else listens. */
const LOOPBACK = '127.77.0.80';
const REQUESTS = 17;

/** Forwards connections to the application in the same namespace, as a sidecar does. */
const PROXY = (address: string) => `
import socket, threading
def copy(source, target):
    while data := source.recv(65536): target.sendall(data)
    target.shutdown(socket.SHUT_WR)
def serve(client):
    server = socket.create_connection(('${address}', ${APPLICATION}))
    threading.Thread(target=copy, args=(server, client), daemon=True).start()
    copy(client, server)
listener = socket.create_server(('', ${SIDECAR}))
print('ready')
while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
`;

/** Answers its own requests. */
const ALONE = `
import socket, time
listener = socket.create_server(('${LOOPBACK}', ${APPLICATION}))
client = socket.create_connection(('${LOOPBACK}', ${APPLICATION}))
server, _ = listener.accept()
for _ in range(${REQUESTS}):
    client.sendall(b'GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n')
    server.recv(1000)
    server.sendall(b'HTTP/1.1 404 Not Found\\r\\nContent-Length: 0\\r\\n\\r\\n')
    client.recv(1000)
time.sleep(1000)
`;

const stack = new AsyncDisposableStack();
let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = stack.use(await HostPair.create());
  agent = stack.use(await TestKernel.open(only({ http: { enabled: true } }), { kubernetes: true }));
});

afterAll(() => stack.disposeAsync());

type Counts = Readonly<Record<string, number>>;

/** Returns the requests of both namespaces by role. */
async function counted(status = '2xx'): Promise<Counts> {
  const page = await agent.page();
  const ends = Object.entries({ a: pair.a.netns.name, b: pair.b.netns.name }).flatMap(([end, pod]) =>
    (['client', 'server'] as const).map((role): [string, number] => [
      `${end} ${role}`,
      Number(sampleValue(page, http.metrics.requests.name, { pod, role, version: '1', status }) ?? 0),
    ]),
  );
  return Object.fromEntries(ends);
}

async function expectAdded(before: Counts, added: Counts): Promise<void> {
  await eventually(async () => {
    const after = await counted();
    expect(Object.fromEntries(Object.entries(after).map(([key, value]) => [key, value - (before[key] ?? 0)]))).toEqual(
      added,
    );
  });
}

it('two namespaces have numbers of their own', async () => {
  await using _a = await HttpProcess.start(pair.a.netns, 'serve', pair.addressA.ipv4, APPLICATION);
  await using _b = await HttpProcess.start(pair.b.netns, 'serve', pair.addressB.ipv4, APPLICATION);
  const before = await counted();
  runHttp(pair.a.netns, 'burst', pair.addressB.ipv4, APPLICATION, 20);
  runHttp(pair.b.netns, 'burst', pair.addressA.ipv4, APPLICATION, 7);
  await expectAdded(before, { 'a client': 20, 'a server': 7, 'b client': 7, 'b server': 20 });
});

it('a sidecar adds one hop', async () => {
  await using _application = await HttpProcess.start(pair.b.netns, 'serve', pair.addressB.ipv4, APPLICATION);
  await using _sidecar = await startPython(pair.b.netns, PROXY(pair.addressB.ipv4));
  const before = await counted();
  runHttp(pair.a.netns, 'burst', pair.addressB.ipv4, SIDECAR, REQUESTS);
  await expectAdded(before, { 'a client': REQUESTS, 'a server': 0, 'b client': REQUESTS, 'b server': 2 * REQUESTS });
});

it('a Pod in the namespace of the node has numbers apart from the node', async () => {
  const of = async (pod: string, role: string) =>
    sampleValue(await agent.page(), http.metrics.requests.name, { pod, role, version: '1', status: '4xx' });
  const ofNode = await of('', 'server');
  await using pod = new TestPod(CGROUP_V2);
  await using _process = await startIn(pod.container, undefined, ['python3', '-c', ALONE]);
  for (const role of ['client', 'server']) await eventually(async () => expect(await of(pod.uid, role)).toBe(REQUESTS));
  expect(await of('', 'server')).toBe(ofNode);
});
