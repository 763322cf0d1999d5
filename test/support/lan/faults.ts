import { run } from '../command.ts';
import { compileFilters } from '../drop_cases.ts';
import { TestNetns } from '../hosts.ts';
import { playScene } from '../scene.ts';
import type { Lan, LanHost } from './lan.ts';
import type { Servers } from './servers.ts';

/**
 * Hosts into which faults are injected: two hosts of the LAN and one host behind a router. No other traffic uses these
 * hosts.
 */
export class FaultScene implements Disposable {
  readonly a: LanHost;
  readonly b: LanHost;
  readonly edge: LanHost;
  readonly servers: Servers;
  readonly farSubnet: string;
  readonly #lan: Lan;
  readonly #far: TestNetns;

  constructor(lan: Lan, servers: Servers) {
    this.#lan = lan;
    this.servers = servers;
    [this.a, this.b, this.edge] = [lan.join('fault-a'), lan.join('fault-b'), lan.join('edge')];
    this.#far = new TestNetns(`${lan.prefix}-far`);
    this.farSubnet = lan.subnet.replace('10.83.', '10.84.');
    this.edge.netns.ip(`link add eth1 type veth peer name eth0 netns ${this.#far.name}`);
    this.edge.netns.ip(`addr add ${this.farSubnet}.1/24 dev eth1`);
    this.edge.netns.ip('link set eth1 up');
    this.edge.netns.exec('sysctl -qw net.ipv4.ip_forward=1');
    this.#far.ip('link set lo up');
    this.#far.ip(`addr add ${this.farSubnet}.2/24 dev eth0`);
    this.#far.ip('link set eth0 up');
    this.#far.ip(`route add default via ${this.farSubnet}.1`);
    this.a.netns.ip(`route add ${this.farSubnet}.0/24 via ${this.edge.ipv4}`);
  }

  /** An unused address in the LAN. */
  get nobody(): string {
    return `${this.#lan.subnet}.254`;
  }

  /**
   * Runs a Python program between the first host and another: the second host, the cache server, or the host behind the
   * router.
   */
  async play(to: 'b' | 'far' | 'cache', program: string): Promise<void> {
    const { a, b, servers, farSubnet } = this;
    const ends = {
      b,
      cache: servers.hosts.cache,
      far: { netns: this.#far, ipv4: `${farSubnet}.2` },
    };
    const end = ends[to];
    const addressOf = ({ ipv4 }: { ipv4: string }) => ({ ipv4, ipv6: '' });
    await playScene({ a, b: end, addressA: addressOf(a), addressB: addressOf(end) }, 'ipv4', program);
  }

  nft(host: LanHost, rule: string): void {
    run('ip', 'netns', 'exec', host.name, 'nft', rule);
  }

  [Symbol.dispose](): void {
    this.#far[Symbol.dispose]();
  }
}

export interface Fault {
  readonly name: string;
  /** Event types with namespaces. The agent must report exactly these. */
  readonly expected: readonly string[];
  readonly happen: (scene: FaultScene) => Promise<void>;
}

/** Injects a fault into an open connection, and waits until all data that was sent during the fault has arrived. */
const established = (port: number, fault: string) => `
server, client, peer = connected(${port})
client.send(b'x'); peer.recv(1); peer.send(b'x'); client.recv(1); time.sleep(0.3)
${fault}
left = len(sent)
while left: left -= len(peer.recv(left))
client.close(); peer.recv(1); peer.close(); server.close()
`;

export const FAULTS: readonly Fault[] = [
  {
    name: 'a rule drops one flow to a server',
    expected: ['packet_drop cache', 'tcp_retransmit fault-a'],
    happen: (scene) =>
      scene.play(
        'cache',
        `
c = sock(A); c.connect((ADDRESS[B], 6379))
c.send(b'PING\\r\\n'); assert c.recv(7) == b'+PONG\\r\\n'; time.sleep(0.3)
drop(B, 'ip saddr %s tcp dport 6379 drop' % ADDRESS[A])
c.send(b'PING\\r\\n'); time.sleep(1.2)
undrop(B)
assert c.recv(7) == b'+PONG\\r\\n'
c.close()
`,
      ),
  },
  {
    name: 'the queue of a device overflows',
    expected: ['packet_drop fault-a'],
    happen: async (scene) => {
      scene.a.netns.tc('qdisc add dev eth0 root tbf rate 64kbit burst 1600 limit 3000');
      await scene.play(
        'b',
        `
server = sock(B, socket.SOCK_DGRAM); server.bind((ADDRESS[B], 7101)); server.settimeout(2)
client = sock(A, socket.SOCK_DGRAM)
for i in range(20): client.sendto(b'x' * 1000, (ADDRESS[B], 7101))
try:
    while True: server.recv(2000)
except TimeoutError: pass
`,
      );
      scene.a.netns.tc('qdisc del dev eth0 root');
    },
  },
  {
    name: 'a datagram arrives damaged',
    expected: ['packet_drop fault-b'],
    happen: (scene) =>
      scene.play(
        'b',
        `
server = sock(B, socket.SOCK_DGRAM); server.bind((ADDRESS[B], 7102)); server.settimeout(1)
raw(17, datagram(7102, 0x5555))
try: server.recv(100); raise SystemExit('it was taken')
except TimeoutError: pass
`,
      ),
  },
  {
    name: 'nobody reads a UDP socket, and its buffer overflows',
    expected: ['packet_drop fault-b'],
    happen: (scene) =>
      scene.play(
        'b',
        `
server = sock(B, socket.SOCK_DGRAM); server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096); server.bind((ADDRESS[B], 7103))
client = sock(A, socket.SOCK_DGRAM)
for i in range(10): client.sendto(b'x' * 1000, (ADDRESS[B], 7103))
time.sleep(0.1)
server.setblocking(False)
try:
    while True: server.recv(2000)
except BlockingIOError: pass
`,
      ),
  },
  {
    name: 'a UDP port is closed',
    expected: ['packet_drop fault-b'],
    happen: (scene) => scene.play('b', "sock(A, socket.SOCK_DGRAM).sendto(b'x', (ADDRESS[B], 7104))"),
  },
  {
    name: 'a TCP port is closed',
    expected: ['packet_drop fault-b', 'tcp_reset fault-a', 'tcp_reset fault-b'],
    happen: (scene) =>
      scene.play(
        'b',
        `
try: sock(A).connect((ADDRESS[B], 7105)); raise SystemExit('it was accepted')
except ConnectionRefusedError: pass
`,
      ),
  },
  {
    name: 'a server stops accepting connections',
    expected: ['accept_queue_full fault-b', 'tcp_retransmit fault-a'],
    happen: (scene) =>
      scene.play(
        'b',
        `
server = listen(B, 7106, 1)
clients = []
for i in range(6):
    client = sock(A); client.setblocking(False); client.connect_ex((ADDRESS[B], 7106))
    clients.append(client); time.sleep(0.02)
time.sleep(6.5)
for client in clients: client.close()
time.sleep(0.3)
server.setblocking(False)
try:
    while True: server.accept()[0].close()
except BlockingIOError: pass
server.close()
`,
      ),
  },
  {
    name: 'a route is withdrawn',
    expected: ['packet_drop edge', 'tcp_retransmit fault-a'],
    happen: (scene) =>
      scene.play(
        'far',
        established(
          7_107,
          `
edge, far = '${scene.edge.name}', '${scene.farSubnet}.0/24'
subprocess.run(['ip', '-n', edge, 'route', 'del', far], check=True)
sent = b'x' * 100; client.send(sent); time.sleep(1.2)
subprocess.run(['ip', '-n', edge, 'route', 'add', far, 'dev', 'eth1'], check=True)
`,
        ),
      ),
  },
  {
    name: 'a router has a smaller MTU, and its ICMP is lost',
    expected: ['packet_drop edge', 'tcp_retransmit fault-a'],
    happen: async (scene) => {
      scene.edge.netns.ip('link set eth1 mtu 1280');
      scene.nft(scene.edge, 'add table inet fault');
      scene.nft(scene.edge, 'add chain inet fault out { type filter hook output priority 0; }');
      scene.nft(scene.edge, 'add rule inet fault out icmp type destination-unreachable drop');
      const end = `subprocess.run(['ip', '-n', '${scene.edge.name}', 'link', 'set', 'eth1', 'mtu', '1500'], check=True)`;
      await scene.play('far', established(7_108, `sent = b'x' * 20000; client.send(sent); time.sleep(1.2)\n${end}`));
      scene.nft(scene.edge, 'delete table inet fault');
    },
  },
  {
    name: 'a server is killed while a client uploads to it',
    expected: ['tcp_reset fault-a', 'tcp_reset fault-b'],
    happen: (scene) =>
      scene.play(
        'b',
        `
import signal
ready, told = os.pipe()
child = os.fork()
if child == 0:
    server = listen(B, 7109); os.write(told, b'x')
    peer, _ = server.accept(); peer.recv(1000); peer.send(b'HTTP/1.1 200 OK\\r\\n')
    while True: time.sleep(1)
os.read(ready, 1)
client = sock(A); client.connect((ADDRESS[B], 7109))
client.send(b'x' * 1000); client.recv(100); client.setblocking(False)
try:
    while True: client.send(b'x' * 65536); time.sleep(0.001)
except BlockingIOError: client.setblocking(True)
os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
try: client.recv(100); raise SystemExit('it was not reset')
except ConnectionResetError: pass
`,
      ),
  },
  {
    name: 'an XDP program drops the answers of the nameserver',
    expected: ['packet_drop fault-a'],
    happen: async (scene) => {
      using filters = compileFilters();
      scene.a.netns.ip(`link set eth0 xdp obj ${filters.path} sec xdp`);
      const env = { RES_OPTIONS: 'timeout:1 attempts:1' };
      const { code } = await scene.a.run(['getent', 'ahosts', 'web.test'], 30_000, env);
      scene.a.netns.ip('link set eth0 xdp off');
      if (code === 0) throw new Error('the name was found');
    },
  },
  {
    name: 'a neighbour does not answer',
    expected: ['packet_drop fault-a'],
    happen: (scene) =>
      scene.play(
        'b',
        `
client = sock(A, socket.SOCK_DGRAM)
for i in range(3): client.sendto(b'x', ('${scene.nobody}', 7110))
time.sleep(3.3)
`,
      ),
  },
];
