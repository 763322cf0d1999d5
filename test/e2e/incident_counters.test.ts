import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Incident, IncidentsReport } from '#api/incidents.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { sh } from '../support/command.ts';
import { startPython, TestNetns, uniqueName } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

/** Networks of this test only, because an address that occurs twice on the machine has no known owner. */
const NET = `198.18.${process.pid % 256}`;
const NET6 = `fd18:${(process.pid % 0xffff).toString(16)}`;
const [CLIENT, SERVER, HIDDEN] = [`${NET}.1`, `${NET}.2`, `198.19.${process.pid % 256}.1`];
const [CLIENT6, SERVER6, HIDDEN6] = [`${NET6}::1`, `${NET6}::2`, `${NET6}:1::1`];
const [FULL, NO_WAY_BACK, NO_WAY_BACK6] = [7301, 7302, 7303];

/** Listens on three ports, and never accepts. The queue of the first one has room for two connections. */
const LISTEN = `
import socket, threading
sockets = []
for port, backlog in ((${FULL}, 1), (${NO_WAY_BACK}, 16), (${NO_WAY_BACK6}, 16)):
    s = socket.socket(socket.AF_INET6)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(('::', port))
    s.listen(backlog)
    sockets.append(s)
print('ready')
threading.Event().wait()
`;

/** Connects from \`count\` sockets, and waits. */
function connect(from: string, to: string, port: number, count: number): string {
  return `
import socket, threading
sockets = []
for _ in range(${count}):
    s = socket.socket(socket.AF_INET6 if ':' in '${to}' else socket.AF_INET)
    s.bind(('${from}', 0))
    s.setblocking(False)
    s.connect_ex(('${to}', ${port}))
    sockets.append(s)
print('ready')
threading.Event().wait()
`;
}

const resources = new AsyncDisposableStack();
let client: TestNetns;
let agent: AgentProcess;

async function incidentTo(port: number): Promise<Incident | undefined> {
  const { incidents } = (await agent.json('/api/v1/incidents')) as IncidentsReport;
  return incidents.find(({ dst }) => dst.endsWith(`:${port}`));
}

beforeAll(async () => {
  client = resources.use(new TestNetns());
  const server = resources.use(new TestNetns());
  const [near, far] = [uniqueName('va'), uniqueName('vb')];
  sh(`ip link add ${near} netns ${client.name} type veth peer name ${far} netns ${server.name}`);
  for (const [netns, name, addresses] of [
    [client, near, [`${CLIENT}/24`, `${HIDDEN}/32`, `${CLIENT6}/64`, `${HIDDEN6}/128`]],
    [server, far, [`${SERVER}/24`, `${SERVER6}/64`]],
  ] as const) {
    netns.ip('link set lo up');
    netns.exec('sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0');
    netns.exec(`sysctl -qw net.ipv4.conf.${name}.rp_filter=0`);
    for (const address of addresses)
      netns.ip(`addr add ${address} dev ${name}${address.includes(':') ? ' nodad' : ''}`);
    netns.ip(`link set ${name} up`);
  }
  resources.use(await startPython(server, LISTEN));
  const folder = resources.use(await mkdtempDisposable(join(tmpdir(), 'counters-')));
  const config = join(folder.path, 'config.yaml');
  writeFileSync(config, only({ tcpretrans: true }));
  agent = resources.use(await AgentProcess.serve(['--config', config]));
  await eventually(async () => expect(JSON.stringify(await agent.json('/api/v1/entities'))).toContain(server.name));
});

afterAll(() => resources.disposeAsync());

it.each([
  ['accept_queue', CLIENT, SERVER, FULL, 6, 'accept queue'],
  ['route', HIDDEN, SERVER, NO_WAY_BACK, 1, 'the server has no route back to the client'],
  ['route', HIDDEN6, SERVER6, NO_WAY_BACK6, 1, 'the server has no route back to the client'],
])(
  '%s from %s: the counters of the server tell, without any event about it',
  async (cause, from, to, port, count, text) => {
    await using _ = await startPython(client, connect(from, to, port, count));
    await eventually(async () => expect(await incidentTo(port)).toMatchObject({ cause }), 30_000);
    const incident = await incidentTo(port);
    expect(incident?.message).toContain(text);
    expect(Object.keys(incident?.events ?? {})).toEqual(['tcp_retransmit']);
  },
);
