import { expect } from 'vitest';
import type { Exposition } from './exposition.ts';
import type { HostPair } from './hosts.ts';
import { only, probesOf, type TestKernel } from './kernel.ts';
import { eventually } from './oracle.ts';
import { playScene } from './scene.ts';

/** Probes that share the programs that count closed TCP sockets. */
export const SHARING = ['flow', 'tcpconnect', 'tcpsummary'] as const;
export type Sharing = (typeof SHARING)[number];

const PORT = 7_500;
const CONNECTIONS = 3;
const BYTES = 1_000;
const REFUSED = 2;
/** Number of connection attempts that exceed the accept queue. Their SYNs are dropped. */
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

export interface ToggleContext {
  readonly pair: HostPair;
  readonly agent: TestKernel;
}

function sumOf(page: Exposition, name: string, labels: Readonly<Record<string, string>>): number {
  const matches = page.samples.filter(
    (sample) =>
      sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  return matches.reduce((sum, { value }) => sum + Number(value), 0);
}

/** Returns the counts of a probe that depend only on the traffic. */
function countsOf(probe: Sharing, page: Exposition, pair: HostPair): Record<string, number> {
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

function listenDrops(pair: HostPair): number {
  return Number(/^TcpExtListenDrops\s+(\d+)/m.exec(pair.b.netns.exec('nstat -asz TcpExtListenDrops'))?.[1]);
}

async function configure(agent: TestKernel, probes: readonly Sharing[]): Promise<void> {
  await agent.kernel.configure(probesOf(only(Object.fromEntries(probes.map((name) => [name, { enabled: true }])))));
}

/**
 * Switches the other probes on and off in random order while traffic is running. Checks that the counts of the probe
 * that stays on are exact at the end.
 */
export async function toggleOthers({ pair, agent }: ToggleContext, kept: Sharing, toggles: number): Promise<void> {
  await configure(agent, [kept]);
  const before = countsOf(kept, await agent.page(), pair);
  const dropsBefore = listenDrops(pair);
  let seed = 1;
  for (let toggle = 0; toggle < toggles; toggle++) {
    seed = (seed * 48_271) % 0x7fff_ffff;
    const others = SHARING.filter((name, index) => name !== kept && (seed >> (index + 3)) & 1);
    await Promise.all([playScene(pair, 'ipv4', TRAFFIC), configure(agent, [kept, ...others])]);
  }
  const wanted: Record<Sharing, Record<string, number>> = {
    flow: {
      sent: toggles * CONNECTIONS * BYTES,
      received: toggles * CONNECTIONS * BYTES,
      refused: toggles * REFUSED,
    },
    tcpconnect: { refused: toggles * REFUSED },
    tcpsummary: { drops: listenDrops(pair) - dropsBefore },
  };
  await eventually(async () => {
    const after = countsOf(kept, await agent.page(), pair);
    const grown = Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]));
    expect(grown).toEqual(wanted[kept]);
  });
  expect(Object.values(wanted[kept]).every((value) => value > 0)).toBe(true);
}
