import { spawn } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asNetnsId } from '#core/netns.ts';
import { askDns, DnsServer } from '../support/dns_traffic.ts';
import { HostPair, startPython, type TestNetns } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { lacksApplications, program } from '../support/lan/programs.ts';
import { eventually } from '../support/oracle.ts';

/** Names of peers by the answers of dnsmasq to the C library's resolver, and of a hostile server. */

const PORT = 8_443;
/** Another address of namespace B. */
const OTHER = '10.9.0.7';
const CONFIG = only({ dns: { enabled: true }, flow: { enabled: true, records: { sample: '100%' } } });
const HIDDEN = { paths: true, names: false, peers: true, traces: true };

/** Accepts connections over IPv4 and IPv6, and closes them once the client has. */
const SERVER = `
import socket
server = socket.create_server(('::', ${PORT}), family=socket.AF_INET6, dualstack_ipv6=True, backlog=64)
print('ready', flush=True)
while True:
    connection, _ = server.accept()
    connection.recv(1)
    connection.close()
`;

let pair: HostPair;
let agent: TestKernel;
const stack = new AsyncDisposableStack();

/** Makes the C library in a namespace ask the DNS server in namespace B. */
function useResolver({ name }: TestNetns, options = ''): void {
  const directory = join('/etc/netns', name);
  mkdirSync(directory, { recursive: true });
  const lines = [`nameserver ${pair.addressB.ipv4}`, 'search shop.test', `options timeout:30 attempts:3 ${options}`];
  writeFileSync(join(directory, 'resolv.conf'), `${lines.join('\n')}\n`);
}

beforeAll(async () => {
  pair = stack.use(await HostPair.create());
  const { a, b } = pair;
  for (const { netns } of [a, b]) {
    useResolver(netns);
    stack.defer(() => rmSync(join('/etc/netns', netns.name), { recursive: true }));
  }
  b.netns.ip(`addr add ${OTHER}/32 dev ${pair.deviceB}`);
  agent = stack.use(await TestKernel.open(CONFIG));
  stack.use(await startPython(b.netns, SERVER));
});

afterAll(() => stack.disposeAsync());

async function startDnsmasq(...records: string[]): Promise<AsyncDisposable> {
  const { b, addressB } = pair;
  const child = spawn('ip', [
    ...[
      'netns',
      'exec',
      b.netns.name,
      program('dnsmasq'),
      '--keep-in-foreground',
      '--conf-file=/dev/null',
      '--user=root',
    ],
    ...['--no-resolv', '--no-hosts', '--bind-interfaces', `--listen-address=${addressB.ipv4}`, '--pid-file='],
    ...['--local=/test/', '--local=/example/', ...records],
  ]);
  await eventually(() => expect(b.netns.exec('ss -Hlun sport = :53')).toContain(':53'));
  return {
    [Symbol.asyncDispose]: async () => {
      const gone = new Promise((resolve) => child.once('exit', resolve));
      child.kill();
      await gone;
    },
  };
}

/** Resolves a name and connects, as an application does. */
async function connect({ name: netns }: TestNetns, name: string): Promise<void> {
  const source = `import socket; socket.create_connection(('${name}', ${PORT}), 60).close()`;
  const child = spawn('ip', ['netns', 'exec', netns, 'python3', '-c', source], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  expect(code).toBe(0);
}

/** Returns the edges of a namespace to or from the server. After a change of the configuration, they take a moment. */
function edgesOf(netns: TestNetns) {
  return eventually(async () => {
    const answer = await agent.kernel.flows.report({ failed: false, limit: 1_000, pod: netns.name });
    if (!('report' in answer)) throw new Error(answer.unavailable);
    return answer.report.edges.filter(({ port }) => port === PORT);
  });
}

/** Returns the names of the servers to which a namespace has connected, by address. */
async function namesOf(netns: TestNetns): Promise<Record<string, readonly string[]>> {
  const edges = await edgesOf(netns);
  return Object.fromEntries(
    edges.filter(({ role }) => role === 'client').map(({ peer, dnsNames }) => [peer, dnsNames]),
  );
}

function recordsTo(netns: TestNetns, ip: string) {
  return agent.records
    .flatMap((batch) => (batch.kind === 'flow' ? batch.values : []))
    .filter(({ pod, role, dst, dstPort }) => pod === netns.name && role === 'client' && dst === ip && dstPort === PORT);
}

describe.skipIf(lacksApplications())('a peer that a Pod has resolved', () => {
  it('has the name in edges, records and on the map: over UDP and TCP, IPv4 and IPv6, by alias and search list', async () => {
    const { a, b, addressB } = pair;
    await using _dnsmasq = await startDnsmasq(
      `--host-record=four.shop.test,${addressB.ipv4},300`,
      `--host-record=six.example,${addressB.ipv6},300`,
      '--cname=alias.shop.test,four.shop.test',
      `--host-record=own.example,${addressB.ipv4}`,
      `--host-record=over-tcp.example,${OTHER}`,
    );
    await connect(a.netns, 'FOUR.shop.TEST.');
    await connect(a.netns, 'alias');
    await connect(a.netns, 'six.example');
    useResolver(a.netns, 'use-vc');
    await connect(a.netns, 'over-tcp.example');
    await connect(b.netns, 'own.example');
    expect(await namesOf(a.netns)).toEqual({
      [addressB.ipv4]: ['four.shop.test', 'alias.shop.test'],
      [addressB.ipv6]: ['six.example'],
      [OTHER]: ['over-tcp.example'],
    });
    // Each Pod has its own view, and a server does not know the names of its clients.
    expect(await namesOf(b.netns)).toEqual({ [addressB.ipv4]: ['own.example'] });
    for (const { role, dnsNames } of await edgesOf(b.netns)) if (role === 'server') expect(dnsNames).toEqual([]);
    await eventually(() => expect(recordsTo(a.netns, addressB.ipv4)).toHaveLength(2));
    // The agent may have learnt the second name before it has read the end of the first connection.
    const [, last] = recordsTo(a.netns, addressB.ipv4).map(({ dnsNames }) => dnsNames);
    expect(last).toEqual(['four.shop.test', 'alias.shop.test']);
    const answer = await agent.kernel.flows.map([]);
    if (!('report' in answer)) throw new Error(answer.unavailable);
    expect(answer.report.dnsNames).toBe('shown');
    const targets = answer.report.edges
      .filter(({ source, port }) => source === `local//${a.netns.name}` && port === PORT)
      .map(({ target }) => target);
    expect(targets.sort()).toEqual([
      'unknown//four.shop.test (+1)',
      'unknown//over-tcp.example',
      'unknown//six.example',
    ]);
  });

  it('has no name while the configuration hides names of its namespace, and none without the probe', async () => {
    const { a, addressB } = pair;
    const { kernel } = agent;
    await using _dnsmasq = await startDnsmasq(`--host-record=later.example,${addressB.ipv4}`);
    useResolver(a.netns);
    await connect(a.netns, 'later.example');
    await eventually(async () => expect((await namesOf(a.netns))[addressB.ipv4]).toContain('later.example'));
    await kernel.configure(probesOf(CONFIG), false, undefined, { '*': HIDDEN });
    expect(Object.values(await namesOf(a.netns)).flat()).toEqual([]);
    await kernel.configure(probesOf(only({ flow: { enabled: true } })));
    expect(Object.values(await namesOf(a.netns)).flat()).toEqual([]);
    await eventually(async () => {
      const answer = await kernel.flows.map([]);
      expect('report' in answer && answer.report.dnsNames).toBe('off');
    });
    // A new run knows the names that are resolved from then on.
    await kernel.configure(probesOf(CONFIG));
    expect(Object.values(await namesOf(a.netns)).flat()).toEqual([]);
    await connect(a.netns, 'later.example');
    await eventually(async () => expect(await namesOf(a.netns)).toMatchObject({ [addressB.ipv4]: ['later.example'] }));
  });
});

describe('a hostile DNS server', () => {
  /** Returns the names under which a namespace has resolved an address. */
  async function named({ name }: TestNetns, ip: string): Promise<readonly string[]> {
    const found = (await agent.kernel.entities()).find(({ pod }) => pod === name);
    return agent.kernel.peerNames.of(asNetnsId(Number(found?.netns)), ip);
  }

  it.each(['udp', 'tcp'] as const)(
    'over %s names nothing but the addresses of what was asked for',
    async (protocol) => {
      const { a, b, addressB } = pair;
      const dropped = await countDropped();
      const kinds = [
        'unrelated',
        'loop',
        'forward',
        'counts',
        'short',
        'long',
        'late',
        'other',
        'forever',
        'never',
        'many',
      ];
      // Over TCP, an answer with another ID is the next message of the stream.
      const asked = [...kinds, 'forged'].map((kind) => `hostile-${kind}.${protocol}.example`);
      await using server = await DnsServer.start(b.netns, addressB.ipv4);
      askDns(
        a.netns,
        addressB.ipv4,
        protocol,
        'each',
        asked.map((name) => [name, 'a', 1] as const),
      );
      await server.end();
      const of = (kind: string) => `hostile-${kind}.${protocol}.example`;
      expect(await named(a.netns, '10.20.1.0')).toEqual([]);
      expect(await named(a.netns, '10.20.0.1')).toEqual(expect.arrayContaining([of('unrelated'), of('many')]));
      expect(await named(a.netns, '10.20.0.2')).toContain(of('forged'));
      expect(await named(a.netns, '10.20.0.3')).toContain(of('late'));
      expect(await named(a.netns, '10.20.0.4')).toContain(of('forever'));
      expect(await named(a.netns, '10.20.0.5')).toContain(of('never'));
      // Loop, forward, counts, short and long.
      expect(await dropped('malformed')).toBe(5);
      expect(await dropped('cut')).toBe(1);
      expect(await named(a.netns, '10.20.0.20')).toEqual(expect.arrayContaining([of('many')]));
      expect(await named(a.netns, '10.20.0.99')).toEqual([]);
    },
  );

  it('that answers a client with names without end costs a limited number, and no name of others', async () => {
    const { a, b, addressB } = pair;
    const dropped = await countDropped();
    await using server = await DnsServer.start(b.netns, addressB.ipv4);
    askDns(b.netns, addressB.ipv4, 'udp', 'each', [['host65000.quiet.example', 'a', 1]]);
    const names = Array.from({ length: 3_000 }, (_, index) => [`host${index + 1_000}.flood.example`, 'a', 1] as const);
    askDns(a.netns, addressB.ipv4, 'udp', 'connected', names);
    await server.end();
    expect(await dropped('limited')).toBeGreaterThan(0);
    expect(await named(b.netns, '10.20.253.232')).toEqual(['host65000.quiet.example']);
    expect(Number((await agent.page()).named.get('netsonde_dns_named_addresses')?.[0]?.value)).toBeLessThan(600);
  });

  it('is reported once for a name while its answer is valid', async () => {
    const { a, b, addressB } = pair;
    const dropped = await countDropped();
    await using server = await DnsServer.start(b.netns, addressB.ipv4);
    askDns(a.netns, addressB.ipv4, 'udp', 'connected', [['host900.again.example', 'a', 2_000]]);
    await server.end();
    expect(await named(a.netns, '10.20.3.132')).toEqual(['host900.again.example']);
    expect(await dropped('limited')).toBe(0);
  });
});

/** Returns a function that returns the number of names that were dropped since, by cause. */
async function countDropped(): Promise<(cause: string) => Promise<number>> {
  const read = async () => {
    const samples = (await agent.page()).named.get('netsonde_dns_names_dropped_total') ?? [];
    return new Map(samples.map(({ labels, value }) => [labels['cause'], Number(value)]));
  };
  const start = await read();
  return async (cause) => ((await read()).get(cause) ?? Number.NaN) - (start.get(cause) ?? Number.NaN);
}
