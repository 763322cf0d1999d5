import { afterAll, beforeAll, expect, it } from 'vitest';
import type { PeerIdentity } from '#probe/peer_identity.ts';
import { UNKNOWN_PEER } from '#probe/peers.ts';
import { run } from '../support/command.ts';
import { HostPair, startPython } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';

const PORT = 7_655;
const [OUTBOUND, INBOUND] = [15_001, 15_006];
/** User ID of the proxies. The redirect rules exempt connections of this user. */
const PROXY_USER = 1_337;
const CONNECTIONS = 6;
const BYTES = 1_000;

/**
 * Accepts redirected connections, and forwards them to their original destination, as the proxy of a service mesh does.
 */
const PROXY = (port: number, target: string) => `
import encodings.idna, os, socket, struct, threading
def original(client):
    if client.family == socket.AF_INET6 and not client.getpeername()[0].startswith('::ffff:'):
        raw = client.getsockopt(socket.IPPROTO_IPV6, 80, 28)
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack('!H', raw[2:4])[0]
    raw = client.getsockopt(socket.SOL_IP, 80, 16)
    return socket.inet_ntoa(raw[4:8]), struct.unpack('!H', raw[2:4])[0]
def serve(client):
    with client, socket.create_connection(${target}) as server:
        while data := client.recv(65536): server.sendall(data)
        server.shutdown(socket.SHUT_WR)
        while server.recv(65536): pass
listener = socket.create_server(('', ${port}), family=socket.AF_INET6, dualstack_ipv6=True)
os.setuid(${PROXY_USER})
print('ready')
while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
`;

const SERVER = `
import socket
listener = socket.create_server(('', ${PORT}), family=socket.AF_INET6, dualstack_ipv6=True)
print('ready')
while True:
    with listener.accept()[0] as client:
        while client.recv(65536): pass
`;

const CLIENT = (address: string) => `
import socket
for _ in range(${CONNECTIONS}):
    with socket.create_connection(('${address}', ${PORT})) as client:
        client.sendall(bytes(${BYTES}))
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536): pass
`;

const stack = new AsyncDisposableStack();
let pair: HostPair;

beforeAll(async () => {
  pair = stack.use(await HostPair.create());
  const { a, b } = pair;
  const nft = (host: 'a' | 'b', rule: string) => run('ip', 'netns', 'exec', pair[host].netns.name, 'nft', rule);
  for (const [host, hook, rule] of [
    ['a', 'output', `meta skuid != ${PROXY_USER} tcp dport ${PORT} redirect to :${OUTBOUND}`],
    ['b', 'prerouting', `iifname != lo tcp dport ${PORT} redirect to :${INBOUND}`],
  ] as const) {
    nft(host, 'add table inet mesh');
    nft(host, `add chain inet mesh nat { type nat hook ${hook} priority -100; }`);
    nft(host, `add rule inet mesh nat ${rule}`);
  }
  stack.use(await startPython(a.netns, PROXY(OUTBOUND, 'original(client)')));
  stack.use(await startPython(b.netns, PROXY(INBOUND, `('127.0.0.1', ${PORT})`)));
  stack.use(await startPython(b.netns, SERVER));
});

afterAll(() => stack.disposeAsync());

it.each(['ipv4', 'ipv6'] as const)(
  'connections through the proxies of both ends are one edge, with the application’s port, over %s',
  async (family) => {
    const owners = new Map<string, string>([
      [pair.addressA[family], pair.a.netns.name],
      [pair.addressB[family], pair.b.netns.name],
    ]);
    const identify = (ip: string): PeerIdentity => {
      const name = owners.get(ip);
      return name === undefined ? UNKNOWN_PEER : { kind: 'local', namespace: '', name };
    };
    await using agent = await TestKernel.open(only({ flow: { enabled: true } }), { identify });
    await agent.page();
    pair.a.netns.python(CLIENT(pair.addressB[family]));
    const [client, server] = [pair.a, pair.b].map(({ netns }) => `local//${netns.name}`);
    await eventually(async () => {
      await agent.page();
      const told = await agent.kernel.flows.map([]);
      if ('unavailable' in told) throw new Error(told.unavailable);
      // Other tests use the same addresses.
      const own = told.report.edges.filter((edge) =>
        [edge.source, edge.target].every((end) => end === client || end === server),
      );
      // The proxy connects to the same address as the application, so both connections have the same row.
      expect(own).toMatchObject([
        {
          source: client,
          target: server,
          port: PORT,
          connections: 2 * CONNECTIONS,
          sentBytes: 2 * CONNECTIONS * BYTES,
        },
      ]);
    });
  },
);
