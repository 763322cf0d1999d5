import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import type { IncidentsReport } from '#api/incidents.ts';
import { ShopAgent } from '../shop/agent.ts';
import { Cgroup, cgroupRoot, removeCgroup } from '../shop/cgroup.ts';
import { Machine } from '../shop/machine.ts';
import { nodeObject, podObject } from '../support/api_objects.ts';
import { ApiServer } from '../support/api_server.ts';
import { sh } from '../support/command.ts';
import { uniqueName } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { podCommands } from '../support/machine_pods.ts';
import { eventually } from '../support/oracle.ts';

const NODES = ['node-a', 'node-b'] as const;
type NodeName = (typeof NODES)[number];
const HOSTS = { 'node-a': '10.45.0.1', 'node-b': '10.45.0.2' };
const PODS = { 'node-a': '10.45.1.10', 'node-b': '10.45.2.10' };
const SERVICE = '10.45.3.1';
/** Ports of the server, by what the client's node translates. */
const PORTS = { nothing: 7_500, service: 7_501, client: 7_502, both: 7_503 };
type Translated = keyof typeof PORTS;

/**
 * Data of an established connection is lost: first on the node of the server, then on that of the client. The arguments
 * are the network namespaces of both Pods and of both nodes, the address to connect to, and the port.
 */
const LOSE = `
import ctypes, os, socket, subprocess, sys, time
near, far, node_a, node_b, address, port = sys.argv[1:]
libc = ctypes.CDLL(None)
def enter(path): assert libc.setns(os.open(path, os.O_RDONLY), 0x40000000) == 0
def nft(node, rule): subprocess.run(['nsenter', '--net=' + node, 'nft', rule], check=True)
enter(far)
listener = socket.create_server(('', int(port)))
enter(near)
client = socket.create_connection((address, int(port)))
server, _ = listener.accept()
for node in (node_b, node_a):
    nft(node, 'add table inet lossy; add chain inet lossy f { type filter hook forward priority 0; }; add rule inet lossy f tcp dport ' + port + ' drop')
    client.send(b'x')
    time.sleep(0.1)
    nft(node, 'delete table inet lossy')
    server.recv(1)
`;

const resources = new AsyncDisposableStack();
const machines = new Map<NodeName, Machine>();
const agents = new Map<NodeName, ShopAgent>();

const pathOf = (node: NodeName, pod?: string) => machines.get(node)?.netnsPath(pod) ?? '';

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'two-agents-'));
  resources.defer(() => rmSync(folder, { recursive: true, force: true }));
  const cgroup = new Cgroup(join(cgroupRoot(), uniqueName('two')));
  resources.defer(() => removeCgroup(cgroup.path));
  for (const name of NODES) {
    const files = join(folder, name);
    mkdirSync(files);
    machines.set(name, resources.use(await Machine.start(name, files, cgroup.below(name, 'machine'))));
  }
  const [a, b] = NODES.map((name) => machines.get(name) as Machine) as [Machine, Machine];
  sh(`ip link add wire netns ${a.pid} type veth peer name wire netns ${b.pid}`);
  for (const [name, other] of [NODES, NODES.toReversed()] as const) {
    if (name === undefined || other === undefined) continue;
    await machines.get(name)?.run(`${podCommands('pod', PODS[name])}
ip addr add ${HOSTS[name]}/24 dev wire
ip link set wire up
ip route add ${PODS[other]} via ${HOSTS[other]}`);
  }
  await a.run(`nft add table inet nat
nft 'add chain inet nat pre { type nat hook prerouting priority -100; }'
nft 'add chain inet nat post { type nat hook postrouting priority 100; }'
nft 'add rule inet nat pre ip daddr ${SERVICE} dnat ip to ${PODS['node-b']}'
nft 'add rule inet nat post tcp dport { ${PORTS.client}, ${PORTS.both} } masquerade'`);
  // The server's node translates nothing, but tracks connections as every node of a cluster does.
  await b.run(`nft add table inet track
nft 'add chain inet track f { type filter hook forward priority -10; }'
nft add rule inet track f ct state new accept`);
  const api = resources.use(await ApiServer.start());
  for (const name of NODES) {
    api.put('nodes', nodeObject(name, [HOSTS[name]]));
    api.put('pods', podObject({ name: `pod-of-${name}`, namespace: 'shop', node: name, ips: [PODS[name]] }));
  }
  const config = join(folder, 'config.yaml');
  writeFileSync(config, only({ packetloss: true }, { sinks: {}, events: { fold: '0s' } }));
  await Promise.all(
    NODES.map(async (node) => {
      const place = { node, machine: machines.get(node) as Machine, cgroup: cgroup.below(node, 'agent') };
      const agent = await ShopAgent.start({ ...place, api, config, folder: join(folder, node), port: 0 });
      agents.set(node, resources.use(agent));
    }),
  );
});

afterAll(() => resources.disposeAsync());

async function dropsOf(node: NodeName, port: number): Promise<EventRecord[]> {
  const headers = { accept: 'application/x-ndjson', connection: 'close' };
  const path = `${agents.get(node)?.url}/api/v1/events?type=packet_drop&follow=false`;
  const lines = (await (await fetch(path, { headers })).text()).split('\n').filter((line) => line !== '');
  const events = lines.map((line) => JSON.parse(line) as EventRecord);
  // Both nodes run on the same kernel, and an agent does not own the network namespaces of the other node.
  return events.filter(
    ({ pod, dst, reason }) => pod !== null && reason === 'NETFILTER_DROP' && dst?.endsWith(`:${port}`),
  );
}

it.each([
  ['nothing', PODS['node-b']],
  ['service', SERVICE],
  ['client', PODS['node-b']],
  ['both', SERVICE],
] satisfies [Translated, string][])(
  'the agents of both nodes have the same ID if the addresses that the node of the client translates are: %s',
  async (translated, address) => {
    const port = PORTS[translated];
    const places = [pathOf('node-a', 'pod'), pathOf('node-b', 'pod'), pathOf('node-a'), pathOf('node-b')];
    await promisify(execFile)('python3', ['-c', LOSE, ...places, address, String(port)]);
    const [near, far] = await eventually(async () => {
      const drops = await Promise.all(NODES.map((node) => dropsOf(node, port)));
      for (const some of drops) expect(some).not.toEqual([]);
      return drops as [EventRecord[], EventRecord[]];
    });
    const ids = new Set([...near, ...far].map(({ connectionId }) => connectionId));
    expect([...ids]).toEqual([expect.stringMatching(/^[\w-]{8}$/)]);
    const isMasqueraded = translated === 'client' || translated === 'both';
    expect(far[0]?.src).toMatch(isMasqueraded ? /^10\.45\.0\.1:/ : /^10\.45\.1\.10:/);
    expect(near[0]?.src).toMatch(/^10\.45\.1\.10:/);
    expect('connectionService' in (near[0] ?? {})).toBe(address === SERVICE);
    for (const node of NODES) {
      const report = await agents.get(node)?.json<IncidentsReport>('/api/v1/incidents');
      const own = (report?.incidents ?? []).filter(({ connectionIds }) => connectionIds.some((id) => ids.has(id)));
      expect(own.map(({ cause, node: name }) => [cause, name])).toEqual([['firewall', node]]);
    }
  },
);
