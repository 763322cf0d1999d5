import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { EventRecord } from '#api/events.ts';

const DIRECTORY = new URL('../fixtures/incidents/', import.meta.url);

/** Cause that a stream must have, for each connection. */
export interface ExpectedIncident {
  readonly cause: string;
  readonly port: number;
  readonly protocol: string;
}

/** Traffic with one cause, between the client `A` and the server `B` behind the router `ROUTER`. */
export interface Stream {
  /** Program for playScene(). */
  readonly program: string;
  /** Whether the router belongs to another node, so that its events are not in the stream. */
  readonly routerIsElsewhere?: boolean;
  /** Type of an event that arrives only after several seconds. */
  readonly awaited?: string;
}

/** Connects at the same time from `clients` sockets, and waits. The sockets are closed when the program ends. */
const CONNECT = `
def connect(port, clients):
    sockets = [sock(A) for _ in range(clients)]
    for s in sockets:
        s.setblocking(False)
        s.connect_ex((ADDRESS[B], port))
    return sockets
def ask(times):
    for _ in range(times):
        s = sock(A, socket.SOCK_DGRAM)
        s.sendto(b'\\x12\\x34\\x01\\0\\0\\1\\0\\0\\0\\0\\0\\0\\3web\\0\\0\\1\\0\\1', (ADDRESS[B], 53))
        time.sleep(0.05)
        s.close()
FORWARD = 'type filter hook forward priority 0'
`;

/** Opens more connections through the router than it may track. The limit applies to the whole machine. */
const CONNTRACK_FULL = `
LIMIT = 300
PATH = '/proc/sys/net/netfilter/nf_conntrack_max'
nft(ROUTER, 'add table inet scene; add chain inet scene c { ' + FORWARD + '; }; add rule inet scene c ct state new accept')
server = listen(B, 8098, 512)
held = []
for _ in range(LIMIT):
    s = sock(A)
    s.connect((ADDRESS[B], 8098))
    held.append((s, server.accept()[0]))
enter(ROOT)
old = open(PATH).read()
open(PATH, 'w').write(str(LIMIT))
try:
    late = connect(8098, 5)
    time.sleep(1.5)
finally:
    enter(ROOT)
    open(PATH, 'w').write(old)
undrop(ROUTER)
`;

/** The streams, by the name that they have in expected.json. */
export const STREAMS: Readonly<Record<string, Stream>> = {
  refused: {
    program: `
for _ in range(20):
    s = sock(A)
    s.connect_ex((ADDRESS[B], 8081))
    s.close()
    time.sleep(0.05)
`,
  },
  dns_filtered: { program: "drop(B, 'udp dport 53 drop'); ask(20); undrop(B)" },
  firewall: {
    program: "drop(ROUTER, 'tcp dport 8080 drop', FORWARD); s = connect(8080, 10); time.sleep(3.2); undrop(ROUTER)",
  },
  accept_queue: {
    program: 'server = listen(B, 8091, 1); s = connect(8091, 10); time.sleep(7)',
    awaited: 'accept_queue_full',
  },
  overflow: {
    program: `
enter(B)
open('/proc/sys/net/ipv4/tcp_abort_on_overflow', 'w').write('1')
server = listen(B, 8092, 1)
drop(B, 'tcp dport 8092 tcp flags & (syn|ack) == ack drop')
s = connect(8092, 20)
time.sleep(0.5)
undrop(B)
for one in s:
    try: one.send(b'x')
    except OSError: pass
time.sleep(6.5)
enter(B)
open('/proc/sys/net/ipv4/tcp_abort_on_overflow', 'w').write('0')
`,
    awaited: 'accept_queue_full',
  },
  loss: {
    program: `
ends = []
for port in (8093, 8094):
    server = listen(B, port)
    for _ in range(5):
        client = sock(A)
        client.connect((ADDRESS[B], port))
        ends.append((server, client, server.accept()[0]))
time.sleep(0.2)
drop(ROUTER, 'tcp dport { 8093, 8094 } drop', FORWARD)
for _, client, _ in ends: client.send(b'y' * 500)
time.sleep(2)
undrop(ROUTER)
for _, _, peer in ends: peer.recv(500, socket.MSG_WAITALL)
`,
    routerIsElsewhere: true,
  },
  reset: {
    program: `
server = listen(B, 8095)
for _ in range(10):
    client = sock(A)
    client.connect((ADDRESS[B], 8095))
    peer, _ = server.accept()
    client.send(b'question')
    time.sleep(0.02)
    peer.close()
    time.sleep(0.02)
    client.close()
`,
  },
  mtu: {
    program: `
server, client, peer = connected(8096)
drop(ROUTER, 'icmp type destination-unreachable drop', 'type filter hook output priority 0')
client.sendall(b'x' * 30000)
time.sleep(1.5)
undrop(ROUTER)
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
client.close()
`,
  },
  route: {
    program: `
network = ADDRESS[B].rsplit('.', 1)[0] + '.0/24'
def ip(line): subprocess.run(['ip', '-n', ROUTER] + line.split(), check=True)
route = subprocess.check_output(['ip', '-n', ROUTER, 'route', 'show', network], text=True).strip()
ip('route del ' + network)
s = connect(8097, 5)
time.sleep(1.5)
ip('route add ' + route)
`,
  },
  conntrack_full: { program: CONNTRACK_FULL, awaited: 'conntrack_pressure' },
  dns_dead: { program: 'ask(20)' },
  slow_accept: {
    program: `
server = listen(B, 8099, 1)
s = connect(8099, 10)
server.setblocking(False)
for _ in range(14):
    time.sleep(0.5)
    try: server.accept()
    except BlockingIOError: pass
`,
    awaited: 'accept_queue_full',
  },
};

/** Returns the program of a stream. */
export function programOf({ program }: Stream, router: string, root: string): string {
  return `ROUTER, ROOT = '${router}', '${root}'\n${CONNECT}\n${program}`;
}

export function pathOf(name: string): string {
  return fileURLToPath(new URL(`${name}.ndjson`, DIRECTORY));
}

/** Returns the recorded events of a stream. They have neither message nor hint. */
export function readStream(name: string): EventRecord[] {
  const lines = readFileSync(pathOf(name), 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as EventRecord);
}

export function recordedStreams(): string[] {
  const files = readdirSync(fileURLToPath(DIRECTORY)).filter((file) => file.endsWith('.ndjson'));
  return files.map((file) => file.replace('.ndjson', ''));
}

/** Returns the causes that the streams must have, which were written down before the rules. */
export function expectedIncidents(): Record<string, readonly ExpectedIncident[]> {
  const text = readFileSync(fileURLToPath(new URL('expected.json', DIRECTORY)), 'utf8');
  const streams = JSON.parse(text) as Record<string, { incidents: readonly ExpectedIncident[] }>;
  return Object.fromEntries(Object.entries(streams).map(([name, { incidents }]) => [name, incidents]));
}
