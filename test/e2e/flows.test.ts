import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FLOW_RECORD, FLOWS_REPORT, type FlowEdge, type FlowRecord, type FlowsReport } from '#api/flows.ts';
import { LEDGER_REPORT } from '#api/ledger.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { HostPair, startPython, type TestNetns } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { UnseenCloses } from '../support/unseen_closes.ts';

const OPEN = 7_100;
const CLOSED = 7_101;
const SILENT = 7_102;
/** An address in the link's subnet that is not assigned. */
const NOBODY = '10.9.0.77';
const CONNECTIONS = 5;
const REQUEST = 1_000;
const RESPONSE = 50_000;
const REFUSED = 3;
const SCENES_MAX = 5;

const SERVER = `
import socket, threading
listener = socket.create_server(('', ${OPEN}))
print('ready')
def serve(connection):
    left = ${REQUEST}
    while left: left -= len(connection.recv(left))
    connection.sendall(b'x' * ${RESPONSE})
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
    connection.close()
while True: threading.Thread(target=serve, args=(listener.accept()[0],)).start()
`;

const exchange = (server: string) => `
import socket
for _ in range(${CONNECTIONS}):
    connection = socket.create_connection(('${server}', ${OPEN}))
    connection.sendall(b'y' * ${REQUEST})
    left = ${RESPONSE}
    while left: left -= len(connection.recv(left))
    assert connection.recv(1) == b''
    connection.close()
`;

/** Prints the client's port and the error that connect() returned for each attempt. */
const attempts = (targets: readonly (readonly [string, number])[]) => `
import errno, socket
for target in ${JSON.stringify(targets)}:
    client = socket.socket()
    client.bind(('', 0))
    port = client.getsockname()[1]
    try: client.connect(tuple(target))
    except OSError as error: print(port, errno.errorcode[error.errno])
    client.close()
`;

let folder: Awaited<ReturnType<typeof mkdtempDisposable>>;
let pair: HostPair;
let agent: AgentProcess;
let server: AsyncDisposable;
let following: AgentProcess;
/** Errors that connect() returned, by the client's port. */
let told: Map<number, string>;

const command = (...args: string[]) => AgentProcess.run(['flows', '--url', agent.url ?? '', ...args]);

async function run(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  await using started = command(...args);
  const { code } = await started.exited;
  return { code, stdout: started.stdout, stderr: started.stderr };
}

/** Connects from a new namespace to another one. Returns whether the kernel ran the programs for all sockets. */
async function playScene(): Promise<boolean> {
  using unseen = new UnseenCloses();
  pair = await HostPair.create();
  pair.b.netns.exec('nft add table inet t');
  pair.b.netns.exec('nft add chain inet t in { type filter hook input priority 0 ; }');
  pair.b.netns.exec(`nft add rule inet t in tcp dport ${SILENT} drop`);
  pair.a.netns.exec('sysctl -qw net.ipv4.tcp_syn_retries=2');
  server = await startPython(pair.b.netns, SERVER);
  await eventually(async () => {
    const entities = JSON.stringify(await agent.json('/api/v1/entities'));
    for (const { netns } of [pair.a, pair.b]) expect(entities).toContain(netns.name);
  });
  following = command('--follow', '--pod', pair.a.netns.name, '-o', 'json');
  await eventually(async () => expect(await run('--failed')).toMatchObject({ code: 0 }));
  pair.a.netns.python(exchange(pair.addressB.ipv4));
  const { ipv4 } = pair.addressB;
  const targets = [...Array(REFUSED).fill([ipv4, CLOSED]), [ipv4, SILENT], [NOBODY, OPEN]];
  const lines = pair.a.netns.python(attempts(targets)).trimEnd().split('\n');
  told = new Map(lines.map((line) => line.split(' ')).map(([port, error = '']) => [Number(port), error]));
  return unseen.count === 0;
}

async function endScene(): Promise<void> {
  await following?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
}

beforeAll(async () => {
  folder = await mkdtempDisposable(join(tmpdir(), 'flows-'));
  const config = join(folder.path, 'config.yaml');
  const file = { path: join(folder.path, 'flows.jsonl'), kinds: ['flow'] };
  writeFileSync(
    config,
    only({ flow: { enabled: true, records: { perPod: '1000/s' } } }, { sinks: { stdout: { kinds: ['flow'] }, file } }),
  );
  agent = await AgentProcess.serve(['--config', config]);
  for (let scenes = 1; !(await playScene()) && scenes < SCENES_MAX; scenes++) await endScene();
});

afterAll(async () => {
  await endScene();
  await agent?.[Symbol.asyncDispose]();
  await folder?.remove();
});

const CAUSES: Readonly<Record<string, FlowRecord['cause']>> = {
  ECONNREFUSED: 'refused',
  ETIMEDOUT: 'timeout',
  EHOSTUNREACH: 'unreachable',
};

const recordsIn = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => FLOW_RECORD.parse(JSON.parse(line)))
    .filter(({ pod }) => pod === pair.a.netns.name);

describe('records of failed connections', () => {
  it('have the cause that the application was told, in every sink and in `netsonde flows --follow`', async () => {
    expect([...told.values()]).toEqual([...Array(REFUSED).fill('ECONNREFUSED'), 'ETIMEDOUT', 'EHOSTUNREACH']);
    const expected = [...told].map(([port, error]) => [port, CAUSES[error]]).sort();
    const shown = (text: string) =>
      recordsIn(text)
        .map(({ srcPort, cause }) => [srcPort, cause])
        .sort();
    await eventually(() => expect(shown(agent.stdout)).toEqual(expected));
    await eventually(() => expect(shown(readFileSync(join(folder.path, 'flows.jsonl'), 'utf8'))).toEqual(expected));
    await eventually(() => expect(shown(following.stdout)).toEqual(expected));
    const [record] = recordsIn(agent.stdout);
    expect(record).toMatchObject({
      probe: 'flow',
      namespace: '',
      netns: String(pair.a.netns.cookie),
      src: pair.addressA.ipv4,
      dst: pair.addressB.ipv4,
      dstPort: CLOSED,
      role: 'client',
      state: 'SYN_SENT',
      failed: true,
      end: null,
      sentBytes: 0,
    });
  });

  it('are all accounted for', async () => {
    // Connections of other tests fail as well, so their records may be limited or still in transit.
    await eventually(async () => {
      const { probes, sinks } = LEDGER_REPORT.parse(await agent.json('/api/v1/ledger'));
      const source = probes.find(({ kind, probe }) => kind === 'flow' && probe === 'flow');
      expect(source).toMatchObject({ stage: 'kernel', folded: 0, held: 0 });
      const { produced = 0, limited = 0, lost = 0, limitedLater = 0 } = source ?? {};
      expect(produced).toBeGreaterThanOrEqual(told.size);
      for (const sink of ['stdout', 'file']) {
        const row = sinks.find((one) => one.kind === 'flow' && one.sink === sink);
        expect(row).toMatchObject({ pending: 0, recovered: 0, dropped: {} });
        expect((row?.delivered ?? 0) + limited + lost + limitedLater).toBe(produced);
      }
    });
  });
});

async function ask(query: string): Promise<FlowsReport> {
  return FLOWS_REPORT.parse(await agent.json(`/api/v1/flows?${query}`));
}

/** Returns the number of segments that the kernel counts as retransmitted in a namespace. */
function retransmittedIn(netns: TestNetns): number {
  return Number(/TcpRetransSegs\s+(\d+)/.exec(netns.exec('nstat -asz TcpRetransSegs'))?.[1]);
}

const NO_TRAFFIC = { connections: 0, ends: {}, sentBytes: 0, receivedBytes: 0, open: 0 };

describe('totals', () => {
  it('are those of the traffic, at both ends', async () => {
    const closed = { connections: CONNECTIONS, ends: { closed: CONNECTIONS }, failed: {}, open: 0 };
    await eventually(async () => {
      const { edges } = await ask(`pod=${pair.a.netns.name}`);
      expect(edges.map(({ port, peer }) => [port, peer]).sort()).toEqual(
        [
          [OPEN, NOBODY],
          [OPEN, pair.addressB.ipv4],
          [CLOSED, pair.addressB.ipv4],
          [SILENT, pair.addressB.ipv4],
        ].sort(),
      );
      const edgeOf = (port: number, peer: string = pair.addressB.ipv4): FlowEdge | undefined =>
        edges.find((edge) => edge.port === port && edge.peer === peer);
      const bytes = { sentBytes: CONNECTIONS * REQUEST, receivedBytes: CONNECTIONS * RESPONSE };
      expect(edgeOf(OPEN)).toMatchObject({ role: 'client', ...closed, ...bytes });
      expect(edgeOf(CLOSED)).toMatchObject({ ...NO_TRAFFIC, failed: { refused: REFUSED } });
      expect(edgeOf(SILENT)).toMatchObject({ ...NO_TRAFFIC, failed: { timeout: 1 } });
      const retransmitted = edges.reduce((sum, edge) => sum + edge.retransmittedSegments, 0);
      expect(retransmitted).toBe(retransmittedIn(pair.a.netns));
      expect(edgeOf(OPEN, NOBODY)).toMatchObject({ ...NO_TRAFFIC, failed: { unreachable: 1 } });
    });
    const { edges } = await ask(`pod=${pair.b.netns.name}&role=server&port=${OPEN}`);
    const bytes = { sentBytes: CONNECTIONS * RESPONSE, receivedBytes: CONNECTIONS * REQUEST };
    expect(edges).toEqual([expect.objectContaining({ ...closed, ...bytes, peer: pair.addressA.ipv4 })]);
  });

  it('that failed come alone with `failed`, the worst first', async () => {
    const { edges } = await ask(`pod=${pair.a.netns.name}&failed=true`);
    expect(edges).toHaveLength(3);
    expect(edges[0]).toMatchObject({ port: CLOSED, failed: { refused: REFUSED } });
  });
});

describe('netsonde flows', () => {
  it('shows them as a table, and as JSON', async () => {
    const table = await run('--pod', pair.a.netns.name, '--peer', pair.addressB.ipv4, '--addresses');
    const line = (port: number) => table.stdout.split('\n').find((text) => text.includes(` ${port} `)) ?? '';
    expect(table.stdout.split('\n')[1]).toMatch(
      /^POD +ROLE +PEER +PORT +OPEN +CONNS +FAILED +CAUSE +RETR +SENT +RECV +RTT$/,
    );
    expect(line(OPEN)).toMatch(/ client +10\.9\.0\.2 +7100 +0 +5 +0 +0%.* +5k +250k /);
    expect(line(CLOSED)).toMatch(/ client +10\.9\.0\.2 +7101 +0 +0 +3 +refused +0% +0 +0 /);
    const json = await run('--pod', pair.a.netns.name, '--port', String(OPEN), '--failed', '-o', 'json');
    const { edges } = FLOWS_REPORT.parse(JSON.parse(json.stdout));
    expect(edges).toMatchObject([{ peer: NOBODY, failed: { unreachable: 1 } }]);
    expect([table.code, json.code]).toEqual([0, 0]);
  });

  it.each([
    [['--port', 'http'], /responded with 400: port: http is not a port; give a number from 1 to 65535/],
    [['--peer', 'db'], /responded with 400: peer: db is not an address/],
    [['--url', 'http://127.0.0.1:64999'], /cannot connect to the agent at 127\.0\.0\.1:64999/],
  ])('%j is refused with a message', async (args, message) => {
    const { code, stdout, stderr } = await run(...args);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(message);
  });

  it('says that the probe is off, and how to switch it on', async () => {
    const config = join(folder.path, 'off.yaml');
    writeFileSync(config, only({}));
    await using other = await AgentProcess.serve(['--config', config]);
    for (const follow of [[], ['--follow']]) {
      const { code, stderr } = await run('--url', other.url ?? '', ...follow);
      expect(code).toBe(1);
      expect(stderr).toContain(
        'the probe flow is off; switch it on in the configuration: probes: { flow: { enabled: true } }',
      );
    }
  });

  it('follows until it gets a signal', async () => {
    following.signal('SIGINT');
    expect(await following.exited).toEqual({ code: 0, signal: null });
  });
});
