import { existsSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseSnmp } from '#sources/procfs/snmp.ts';
import { run } from '../support/command.ts';
import { TestNetns } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';

const ATTEMPTS = 5;
/** Sends datagrams to an address to which a namespace without addresses has no route. */
const NO_ROUTE = `
import ctypes, os, socket, sys
assert ctypes.CDLL(None).setns(os.open('/run/netns/' + sys.argv[1], os.O_RDONLY), 0x40000000) == 0
for _ in range(${ATTEMPTS}):
    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 9))
    except OSError: pass
`;

let netns: TestNetns;
let agent: TestKernel;

beforeAll(async () => {
  netns = new TestNetns();
  agent = await TestKernel.open(only({}));
});

afterAll(async () => {
  await agent[Symbol.asyncDispose]();
  netns[Symbol.dispose]();
});

async function read(pod: string) {
  return (await agent.kernel.counters({ namespace: '', pod })).namespaces;
}

it('reads the counters of one namespace without any probe', async () => {
  const [before] = await read(netns.name);
  run('python3', '-c', NO_ROUTE, netns.name);
  const [after, ...more] = await read(netns.name);
  expect(more).toEqual([]);
  const grown = (after?.tables['Ip']?.['OutNoRoutes'] ?? 0) - (before?.tables['Ip']?.['OutNoRoutes'] ?? 0);
  expect(grown).toBe(ATTEMPTS);
  const malformed: string[] = [];
  const files = ['snmp', 'netstat'].map((file) => netns.exec(`cat /proc/net/${file}`));
  const kernel = new Map(files.flatMap((text) => [...parseSnmp(text, (part) => malformed.push(part))]));
  expect(malformed).toEqual([]);
  for (const table of ['Tcp', 'TcpExt', 'Ip', 'Icmp', 'Udp'] as const) {
    const values = [...(kernel.get(table) ?? [])].map(([field, value]) => [field, Number(value)]);
    expect(after?.tables[table], table).toEqual(Object.fromEntries(values));
  }
  expect(after?.tables['Ip6']).toHaveProperty('OutNoRoutes');
  const tracking = existsSync('/proc/net/stat/nf_conntrack');
  expect(after?.tables['Conntrack']?.['early_drop']).toBe(tracking ? 0 : undefined);
});

it('knows the node, and nothing about a namespace that does not exist', async () => {
  expect(await read('')).toHaveLength(1);
  expect(await read('no-such-namespace')).toEqual([]);
});
