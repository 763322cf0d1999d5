import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { ShopAgent } from '../shop/agent.ts';
import { Cgroup, cgroupRoot, removeCgroup } from '../shop/cgroup.ts';
import { Machine } from '../shop/machine.ts';
import { nodeObject } from '../support/api_objects.ts';
import { type ApiObject, ApiServer } from '../support/api_server.ts';
import { uniqueName } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { podCommands } from '../support/machine_pods.ts';
import { eventually } from '../support/oracle.ts';

const NODE = 'node-1';
const HOST = '10.44.1.1';
const SERVICE = '10.44.2.1';
const CLIENT_PORT = 42_000;
/** Distance between the local ports of a case when its packet is sent again. */
const PORTS_EACH = 100;

/** Pods by name, with their namespace, address, and named TCP port. */
const PODS = {
  client: ['shop', '10.44.0.1', undefined],
  web: ['shop', '10.44.0.2', ['http', 8080]],
  db: ['data', '10.44.0.3', ['postgres', 5432]],
  cache: ['data', '10.44.0.4', undefined],
} as const;
type PodName = keyof typeof PODS;

const POLICIES = {
  'data/db-for-web': {
    podSelector: { matchLabels: { app: 'db' } },
    ingress: [
      {
        from: [
          {
            namespaceSelector: { matchExpressions: [{ key: 'team', operator: 'In', values: ['shop'] }] },
            podSelector: { matchLabels: { app: 'web' } },
          },
        ],
        ports: [{ port: 'postgres' }],
      },
    ],
  },
  'shop/client-out': {
    podSelector: { matchLabels: { app: 'client' } },
    policyTypes: ['Egress'],
    egress: [{ to: [{ ipBlock: { cidr: '10.44.0.0/24', except: [`${PODS.cache[1]}/32`] } }] }],
  },
  'shop/web-none': { podSelector: { matchLabels: { app: 'web' } } },
  'shop/web-for-monitoring': {
    podSelector: { matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['client'] }] },
    ingress: [{ from: [{ podSelector: { matchLabels: { app: 'monitoring' } } }] }],
  },
} as const;

interface Case {
  readonly from: PodName;
  readonly to: PodName;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  readonly firewall: 'nft' | 'iptables' | 'none';
  readonly isByService?: boolean;
  readonly expected: Readonly<Record<string, unknown>>;
}

const denied = (policyDirection: 'egress' | 'ingress', ...policyBy: readonly string[]) => ({
  policyVerdict: 'denied',
  policySure: 'seen',
  policyDirection,
  policyBy: policyBy.map((name) => `NetworkPolicy/${name}`),
});

/** Connections that a firewall drops, with the verdict according to the API's text. The rules of the firewall are written by hand. */
const CASES: Readonly<Record<string, Case>> = {
  'a Pod that no rule allows, by the address of a Service': {
    ...{ from: 'client', to: 'db', port: 5432, protocol: 'tcp', firewall: 'nft', isByService: true },
    expected: denied('ingress', 'data/db-for-web'),
  },
  'a port that is not the named one': {
    ...{ from: 'web', to: 'db', port: 5433, protocol: 'tcp', firewall: 'iptables' },
    expected: denied('ingress', 'data/db-for-web'),
  },
  'the named port with another protocol': {
    ...{ from: 'web', to: 'db', port: 5432, protocol: 'udp', firewall: 'nft' },
    expected: denied('ingress', 'data/db-for-web'),
  },
  'an exception of an ipBlock': {
    ...{ from: 'client', to: 'cache', port: 6379, protocol: 'udp', firewall: 'iptables' },
    expected: denied('egress', 'shop/client-out'),
  },
  'a Pod that several policies select': {
    ...{ from: 'client', to: 'web', port: 8080, protocol: 'tcp', firewall: 'nft' },
    expected: denied('ingress', 'shop/web-none', 'shop/web-for-monitoring'),
  },
  'a connection that is allowed': {
    ...{ from: 'web', to: 'db', port: 5432, protocol: 'tcp', firewall: 'nft' },
    expected: { policyVerdict: 'allowed', policy: 'no policy of the Kubernetes API denies this', policySure: 'seen' },
  },
  'a connection that no policy selects': {
    ...{ from: 'db', to: 'cache', port: 6379, protocol: 'tcp', firewall: 'iptables' },
    expected: { policyVerdict: 'none', policy: 'no policy of the Kubernetes API denies this', policySure: 'seen' },
  },
  'a denied connection that the kernel drops for another reason': {
    ...{ from: 'client', to: 'db', port: 9, protocol: 'udp', firewall: 'none' },
    expected: { reason: 'NO_SOCKET' },
  },
};

/** Sends a packet for each line of its input: namespace, local port, address, port and protocol. */
const SEND = `
import ctypes, os, socket, sys
libc, sockets = ctypes.CDLL(None), []
for line in sys.stdin.read().splitlines():
    netns, local, address, port, protocol = line.split()
    assert libc.setns(os.open('/run/netns/' + netns, os.O_RDONLY), 0x40000000) == 0
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if protocol == 'tcp' else socket.SOCK_DGRAM)
    s.bind(('0.0.0.0', int(local)))
    s.setblocking(False)
    if protocol == 'tcp': s.connect_ex((address, int(port)))
    else: s.sendto(b'x', (address, int(port)))
    sockets.append(s)
`;

const resources = new AsyncDisposableStack();
let machine: Machine;
let agent: ShopAgent;
let scriptFile: string;

/** Sends the packet of each case, which is named by its index. */
async function send(cases: readonly number[], attempt: number): Promise<void> {
  const lines = cases.map((nth) => {
    const { from, to, port, protocol, isByService } = Object.values(CASES)[nth] as Case;
    const address = isByService === true ? SERVICE : PODS[to][1];
    return [from, CLIENT_PORT + attempt * PORTS_EACH + nth, address, port, protocol].join(' ');
  });
  await machine.run(`python3 ${scriptFile} <<END\n${lines.join('\n')}\nEND\n`);
}

/** Returns the events of dropped packets from a Pod to an address. */
async function dropsOf(source: string, target: string): Promise<EventRecord[]> {
  const headers = { accept: 'application/x-ndjson', connection: 'close' };
  const text = await (await fetch(`${agent.url}/api/v1/events?type=packet_drop&follow=false`, { headers })).text();
  const events = text.split('\n').filter((line) => line !== '');
  return events
    .map((line) => JSON.parse(line) as EventRecord)
    .filter(({ src, dst }) => src?.startsWith(`${source}:`) && dst === target);
}

function podObjectOf(name: PodName): ApiObject {
  const [namespace, ip, port] = PODS[name];
  const ports = port === undefined ? [] : [{ name: port[0], containerPort: port[1] }];
  return {
    metadata: { uid: name, name, namespace, labels: { app: name }, creationTimestamp: '2026-11-21T12:00:00Z' },
    spec: { nodeName: NODE, containers: [{ name: 'main', ports }] },
    status: { phase: 'Running', podIP: ip, podIPs: [{ ip }], hostIP: HOST, hostIPs: [{ ip: HOST }] },
  };
}

async function buildNetwork(): Promise<void> {
  const pods = Object.entries(PODS).map(([name, [, ip]]) => podCommands(name, ip));
  const rules = Object.values(CASES).flatMap(({ from, to, port, protocol, firewall }) => {
    const [source, target] = [PODS[from][1], PODS[to][1]];
    if (firewall === 'nft')
      return `nft add rule inet walls f ip saddr ${source} ip daddr ${target} ${protocol} dport ${port} drop`;
    if (firewall === 'none') return [];
    return `iptables-legacy -A FORWARD -s ${source} -d ${target} -p ${protocol} --dport ${port} -j DROP`;
  });
  await machine.run(`${pods.join('')}
nft add table inet walls
nft 'add chain inet walls f { type filter hook forward priority 0; }'
nft 'add chain inet walls nat { type nat hook prerouting priority -100; }'
nft add rule inet walls nat ip daddr ${SERVICE} dnat ip to ${PODS.db[1]}
${rules.join('\n')}`);
}

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'policy-drops-'));
  resources.defer(() => rmSync(folder, { recursive: true, force: true }));
  const cgroup = new Cgroup(join(cgroupRoot(), uniqueName('drops')));
  resources.defer(() => removeCgroup(cgroup.path));
  machine = resources.use(await Machine.start(NODE, folder, cgroup.below('machine')));
  await buildNetwork();
  scriptFile = join(folder, 'send.py');
  writeFileSync(scriptFile, SEND);
  const api = resources.use(await ApiServer.start());
  api.groups = { 'networking.k8s.io': ['v1'] };
  api.put('nodes', nodeObject(NODE, [HOST]));
  for (const name of ['shop', 'data']) api.put('namespaces', { metadata: { uid: name, name, labels: { team: name } } });
  for (const name of Object.keys(PODS)) api.put('pods', podObjectOf(name as PodName));
  for (const [id, spec] of Object.entries(POLICIES)) {
    const [namespace = '', name = ''] = id.split('/');
    api.put('networkpolicies', { metadata: { uid: id, namespace, name }, spec });
  }
  const config = join(folder, 'config.yaml');
  const events = { policies: true, fold: '0s' };
  writeFileSync(config, only({ packetloss: { enabled: true } }, { peers: 'cluster', sinks: {}, events }));
  const place = { node: NODE, machine, cgroup: cgroup.below('agent'), folder, port: 0 };
  agent = resources.use(await ShopAgent.start({ ...place, api, config }));
  await send([...Object.keys(CASES).keys()], 0);
});

afterAll(() => resources.disposeAsync());

it.each(Object.entries(CASES).map(([what, one], nth) => [what, one, nth] as const))(
  '%s: the event of the drop says what the policies say',
  async (_, { from, to, port, protocol, expected }, nth) => {
    let attempt = 0;
    const drop = await eventually(async () => {
      // On a busy machine, a verdict may not be known in time, which the event says. It is sent only once.
      const drops = await dropsOf(PODS[from][1], `${PODS[to][1]}:${port}`);
      const found = drops.find((event) => event.protocol === protocol && event.policyVerdict !== 'unknown');
      if (found !== undefined) return found;
      if (drops.length > attempt) await send([nth], ++attempt);
      throw new Error(`no drop from ${from} to ${to} with a known verdict`);
    });
    const { reason, policy, policyVerdict, policySure, policyDirection, policyBy } = drop;
    const told = { policy, policyVerdict, policySure, policyDirection, policyBy };
    if ('policyVerdict' in expected) expect(drop).toMatchObject(expected);
    else expect([{ reason }, told]).toEqual([expected, {}]);
  },
);
