import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Exposition } from '../support/exposition.ts';
import { HostPair } from '../support/hosts.ts';
import { only, probesOf, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { playScene } from '../support/scene.ts';

/** Probes that share the programs at the end of TCP sockets. */
const SHARING = ['flow', 'tcpconnect', 'tcpsummary'] as const;
type Sharing = (typeof SHARING)[number];

/** `npm run test:soak` has 200. */
const TOGGLES = Number(process.env['TOGGLES'] ?? 9);
const PORT = 7_500;
const CONNECTIONS = 3;
const BYTES = 1_000;
const REFUSED = 2;
/** Connections beyond the accept queue: each SYN is dropped. */
const DROPPED = 2;

const TRAFFIC = `
PORT = ${PORT}
server = listen(B, PORT)
for _ in range(${CONNECTIONS}):
    client = sock(A)
    client.connect((ADDRESS[B], PORT))
    peer, _ = server.accept()
    client.sendall(bytes(${BYTES}))
    left = ${BYTES}
    while left: left -= len(peer.recv(left))
    client.close(); peer.close()
server.close()
for port in range(${REFUSED}):
    client = sock(A)
    try: client.connect((ADDRESS[B], PORT + 1 + port))
    except ConnectionRefusedError: pass
    client.close()
full = listen(B, PORT + 10, 0)
waiting = [sock(A) for _ in range(1 + ${DROPPED})]
for client in waiting:
    client.setblocking(False)
    try: client.connect((ADDRESS[B], PORT + 10))
    except BlockingIOError: pass
    time.sleep(0.02)
for client in waiting: client.close()
full.close()
`;

let pair: HostPair;
let agent: TestKernel;

beforeAll(async () => {
  pair = await HostPair.create();
  agent = await TestKernel.open(only({}));
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  await pair?.[Symbol.asyncDispose]();
});

function sumOf(page: Exposition, name: string, labels: Readonly<Record<string, string>>): number {
  const matches = page.samples.filter(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  return matches.reduce((sum, { value }) => sum + Number(value), 0);
}

/** Counts of a probe that the traffic determines. */
function countsOf(probe: Sharing, page: Exposition): Record<string, number> {
  const [a, b] = [pair.a.netns.name, pair.b.netns.name];
  const client = { pod: a, role: 'client' };
  if (probe === 'tcpconnect') {
    return { refused: sumOf(page, 'netsonde_tcp_connect_failures_total', { pod: a, cause: 'refused' }) };
  }
  if (probe === 'tcpsummary') return { drops: sumOf(page, 'netsonde_tcp_port_listen_drops_total', { pod: b }) };
  return {
    sent: sumOf(page, 'netsonde_flow_sent_bytes_total', client),
    received: sumOf(page, 'netsonde_flow_received_bytes_total', { pod: b, role: 'server' }),
    refused: sumOf(page, 'netsonde_flow_failed_connections_total', { ...client, cause: 'refused' }),
  };
}

function listenDrops(): number {
  return Number(/^TcpExtListenDrops\s+(\d+)/m.exec(pair.b.netns.exec('nstat -asz TcpExtListenDrops'))?.[1]);
}

async function configure(probes: readonly Sharing[]): Promise<void> {
  await agent.kernel.configure(probesOf(only(Object.fromEntries(probes.map((name) => [name, { enabled: true }])))));
}

describe.each(SHARING)('%s', (kept) => {
  it('stays exact while the others are switched on and off under traffic', async () => {
    await configure([kept]);
    const before = countsOf(kept, await agent.page());
    const dropsBefore = listenDrops();
    let seed = 1;
    for (let toggle = 0; toggle < TOGGLES; toggle++) {
      seed = (seed * 48_271) % 0x7fff_ffff;
      const others = SHARING.filter((name, index) => name !== kept && (seed >> (index + 3)) & 1);
      await Promise.all([playScene(pair, 'ipv4', TRAFFIC), configure([kept, ...others])]);
    }
    const wanted: Record<Sharing, Record<string, number>> = {
      flow: {
        sent: TOGGLES * CONNECTIONS * BYTES,
        received: TOGGLES * CONNECTIONS * BYTES,
        refused: TOGGLES * REFUSED,
      },
      tcpconnect: { refused: TOGGLES * REFUSED },
      tcpsummary: { drops: listenDrops() - dropsBefore },
    };
    await eventually(async () => {
      const after = countsOf(kept, await agent.page());
      const grown = Object.fromEntries(
        Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]),
      );
      expect(grown).toEqual(wanted[kept]);
    });
    expect(Object.values(wanted[kept]).every((value) => value > 0)).toBe(true);
  });
});
