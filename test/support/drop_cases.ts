import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { HostPair } from './hosts.ts';
import type { Family } from './scene.ts';

/** These filters drop only UDP, because a new namespace also sends router solicitations and multicast reports. */
const DROP_UDP = `
#include <linux/bpf.h>
static int is_udp(unsigned char *data, unsigned char *end)
{
	if (data + 24 > end)
		return 0;
	return data[12] == 0x08 ? data[23] == 17 : data[12] == 0x86 && data[20] == 17;
}
__attribute__((section("tc"), used)) int verdict_tc(struct __sk_buff *skb)
{
	return is_udp((void *)(long)skb->data, (void *)(long)skb->data_end) ? 2 : 0;
}
__attribute__((section("xdp"), used)) int verdict_xdp(struct xdp_md *xdp)
{
	return is_udp((void *)(long)xdp->data, (void *)(long)xdp->data_end) ? XDP_DROP : XDP_PASS;
}
__attribute__((section("xdp_arp"), used)) int verdict_arp(struct xdp_md *xdp)
{
	unsigned char *data = (void *)(long)xdp->data;

	if (data + 14 > (unsigned char *)(long)xdp->data_end)
		return XDP_PASS;
	return data[12] == 0x08 && data[13] == 0x06 ? XDP_DROP : XDP_PASS;
}
`;

/** Compiles the tc and XDP programs that drop UDP. */
export function compileFilters(): Disposable & { readonly path: string } {
  const directory = mkdtempSync(join(tmpdir(), 'drops-'));
  const [source, path] = [join(directory, 'drop.c'), join(directory, 'drop.o')];
  writeFileSync(source, DROP_UDP);
  const headers = `-I/usr/include/${process.arch === 'x64' ? 'x86_64' : 'aarch64'}-linux-gnu`;
  execFileSync('clang', ['-target', 'bpf', '-O2', '-g', headers, '-c', source, '-o', path]);
  return { path, [Symbol.dispose]: () => rmSync(directory, { recursive: true }) };
}

/** A case in which packets are lost between two namespaces, over IPv4 and IPv6 unless `families` restricts it. */
export interface DropCase {
  readonly name: string;
  readonly families?: readonly Family[];
  /** Prepares the case with ip and tc. `tearDown` reverts it. */
  readonly setUp?: (pair: HostPair, filters: string) => void;
  readonly tearDown?: (pair: HostPair) => void;
  readonly program: string;
  readonly where: 'a' | 'b';
  readonly reason: string;
  /** Number of drops. If undefined, the number varies and the program prints it. */
  readonly count?: number;
  /** True if the kernel dropped the packet in the context of the sending process. */
  readonly byProcess?: boolean;
  readonly symbol?: RegExp;
  readonly message?: RegExp;
  /** Defaults to UDP. */
  readonly protocol?: string;
  /**
   * Source address if it differs from the address of the sending namespace. `target` is the corresponding destination
   * address.
   */
  readonly source?: string;
  readonly target?: string;
  /**
   * `addresses` if the event contains no ports; `nothing` if it contains neither addresses nor ports. By default, it
   * contains both.
   */
  readonly has?: 'addresses' | 'nothing';
}

/** Joins a new cgroup in which a BPF program rejects sending (1) or receiving (0). */
const REFUSE = `
import tempfile
libc.syscall.restype = ctypes.c_long
BPF, LOAD, ATTACH, CGROUP_SKB = { 'x86_64': 321, 'aarch64': 280 }[os.uname().machine], 5, 8, 8
def bpf(command, attributes):
    result = libc.syscall(BPF, command, ctypes.create_string_buffer(attributes, 128), 128)
    assert result >= 0
    return result
def refuse(direction):
    root = '/sys/fs/cgroup/unified' if os.path.isdir('/sys/fs/cgroup/unified') else '/sys/fs/cgroup'
    folder = tempfile.mkdtemp(prefix='netsonde-test-', dir=root)
    code = (ctypes.c_ubyte * 16)(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95) # r0 = 0; exit
    licence = ctypes.create_string_buffer(b'GPL')
    name = struct.pack('IIQIII16sII', 0, 0, 0, 0, 0, 0, b'', 0, direction)
    program = bpf(LOAD, struct.pack('IIQQ', CGROUP_SKB, 2, ctypes.addressof(code), ctypes.addressof(licence)) + name)
    bpf(ATTACH, struct.pack('IIII', os.open(folder, os.O_RDONLY), program, direction, 0))
    open(folder + '/cgroup.procs', 'w').write(str(os.getpid()))
    return root, folder
def allow(root, folder):
    open(root + '/cgroup.procs', 'w').write(str(os.getpid()))
    os.rmdir(folder)
`;

/** Builds an IPv4 packet with any source address, TTL and destination. */
const FORGED = `
def forged(source, ttl=9, target=None, check=0, version=0x45):
    payload = struct.pack('!HHHH', 40000, PORT, 8, 0)
    header = struct.pack('!BBHHHBBH4s4s', version, 0, 28, 1, 0, ttl, 17, check, socket.inet_aton(source), socket.inet_aton(target or ADDRESS[B]))
    return header[:10] + struct.pack('!H', checksum(header) ^ check) + header[12:] + payload
def frame(packet, mac=None):
    device = DEVICE_A
    to = mac or open_mac(B, DEVICE_B)
    s = make_packet_socket(device)
    s.send(to + open_mac(A, device) + struct.pack('!H', 0x0800) + packet)
def open_mac(ns, device):
    import json
    enter(ns)
    link = json.loads(subprocess.check_output(['ip', '-n', ns, '-j', 'link', 'show', device]))[0]['address']
    return bytes.fromhex(link.replace(':', ''))
def make_packet_socket(device):
    enter(A)
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind((device, 0))
    return s
`;
const SEND = "sock(A, socket.SOCK_DGRAM).sendto(b'x' * 100, (ADDRESS[B], PORT))";
const ELSEWHERE = '10.77.0.1';
const forward = (on: 0 | 1) => (given: HostPair) => void given.b.netns.exec(`sysctl -qw net.ipv4.ip_forward=${on}`);
/** Fills an accept queue that has a backlog of two, so the queue overflows at the end of a handshake. */
const OVERFLOW = `
server = listen(B, PORT, 2)
def connect():
    c = sock(A); c.setblocking(False); c.connect_ex((ADDRESS[B], PORT))
    return c
clients = [connect(), connect()]
time.sleep(0.05)
drop(B, 'tcp dport %d tcp flags & (syn|ack) == ack drop' % PORT)
late = [connect(), connect()]
time.sleep(0.05)
undrop(B)
for client in late:
    client.send(b'x'); time.sleep(0.05)
`;
const overflows = (on: 0 | 1) => (given: HostPair) =>
  void given.b.netns.exec(`sysctl -qw net.ipv4.tcp_abort_on_overflow=${on} net.ipv4.tcp_syncookies=${1 - on}`);
const forwardAll = (on: 0 | 1) => (given: HostPair) => {
  forward(on)(given);
  given.b.netns.ip(`route ${on === 1 ? 'add' : 'del'} blackhole 10.77.0.0/16`);
};
const route = (verb: string) => (given: HostPair) => void given.a.netns.ip(`route ${verb} 10.77.0.0/16 via 10.9.0.2`);

export const DROP_CASES: readonly DropCase[] = [
  { name: 'a closed port', program: SEND, where: 'b', reason: 'NO_SOCKET', count: 1, symbol: /udp/ },
  {
    name: 'a full receive buffer',
    program: `
before = int(subprocess.check_output("ip netns exec %s nstat -asz | awk '/%s/ { print $2 }'" % (B, 'Udp6RcvbufErrors' if V6 else 'UdpRcvbufErrors'), shell=True))
server = sock(B, socket.SOCK_DGRAM); server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096); server.bind((ADDRESS[B], PORT))
client = sock(A, socket.SOCK_DGRAM)
for i in range(10): client.sendto(b'x' * 1000, (ADDRESS[B], PORT))
time.sleep(0.05)
print(int(subprocess.check_output("ip netns exec %s nstat -asz | awk '/%s/ { print $2 }'" % (B, 'Udp6RcvbufErrors' if V6 else 'UdpRcvbufErrors'), shell=True)) - before)
`,
    where: 'b',
    reason: 'SOCKET_RCVBUFF',
  },
  {
    name: 'the full queue of a device',
    setUp: ({ a, deviceA }) => void a.netns.tc(`qdisc add dev ${deviceA} root tbf rate 64kbit burst 1600 limit 3000`),
    tearDown: ({ a, deviceA }) => void a.netns.tc(`qdisc del dev ${deviceA} root`),
    program: `
client = sock(A, socket.SOCK_DGRAM)
for i in range(20): client.sendto(b'x' * 1000, (ADDRESS[B], PORT))
import json
print(json.loads(subprocess.check_output(['tc', '-n', A, '-s', '-j', 'qdisc', 'show', 'dev', DEVICE_A]))[0]['drops'])
`,
    where: 'a',
    reason: 'QDISC_DROP',
    byProcess: true,
  },
  {
    name: 'a rule of the output hook',
    program: `
drop(A, 'udp dport %d drop' % PORT, 'type filter hook output priority 0')
try: ${SEND}
except PermissionError: pass
undrop(A)
`,
    where: 'a',
    reason: 'NETFILTER_DROP',
    count: 1,
    byProcess: true,
  },
  {
    name: 'a wrong UDP checksum',
    program: 'raw(17, datagram(PORT, 0x5555))',
    where: 'b',
    reason: 'UDP_CSUM',
    count: 1,
  },
  {
    name: 'a wrong UDP checksum that the reader finds',
    program: `
server = sock(B, socket.SOCK_DGRAM); server.bind((ADDRESS[B], PORT)); server.settimeout(0.2)
def long(check): return struct.pack('!HHHH', 40000, PORT, 508, check) + b'x' * 500
for n in range(10): raw(17, long(0x5555))
enter(B)
try: server.recv(600)
except socket.timeout: pass
`,
    where: 'b',
    reason: 'UDP_CSUM',
    count: 10,
    byProcess: true,
    symbol: /recvmsg/,
  },
  {
    name: 'fragments other than the first',
    program: `
rule = 'frag frag-off != 0 drop' if V6 else 'ip frag-off & 0x1fff != 0 drop'
drop(B, rule, 'type filter hook prerouting priority -450')
sock(A, socket.SOCK_DGRAM).sendto(b'x' * 4000, (ADDRESS[B], PORT))
undrop(B)
`,
    where: 'b',
    reason: 'NETFILTER_DROP',
    count: 2,
    has: 'addresses',
    message: /dropped a fragment of a packet of \d+ bytes/,
  },
  {
    name: 'fragments whose first one never comes',
    families: ['ipv4'],
    setUp: ({ b }) => void b.netns.exec('sysctl -qw net.ipv4.ipfrag_time=1'),
    tearDown: ({ b }) => void b.netns.exec('sysctl -qw net.ipv4.ipfrag_time=30'),
    program: `
s = sock(A, socket.SOCK_RAW, 255)
a, b = (socket.inet_aton(ADDRESS[x]) for x in (A, B))
for n in range(5):
    s.sendto(struct.pack('!BBHHHBBH4s4s', 0x45, 0, 0, 300 + n, 0x2000 | 100, 64, 17, 0, a, b) + b'y' * 80, (ADDRESS[B], 0))
# An idle CPU may delegate its timers to another CPU.
for cpu in os.sched_getaffinity(0):
    if os.fork() == 0:
        os.sched_setaffinity(0, {cpu})
        end = time.monotonic() + 1.5
        while time.monotonic() < end: pass
        os._exit(0)
time.sleep(1.5)
`,
    where: 'b',
    reason: 'FRAG_REASM_TIMEOUT',
    count: 5,
    has: 'addresses',
    message: /dropped a fragment/,
  },
  {
    name: 'a frame that is not IP and that an XDP program refuses',
    families: ['ipv4'],
    setUp: ({ b, deviceB }, filters) => void b.netns.ip(`link set ${deviceB} xdp obj ${filters} sec xdp_arp`),
    tearDown: ({ b, deviceB }) => void b.netns.ip(`link set ${deviceB} xdp off`),
    program: `${FORGED}
make_packet_socket(DEVICE_A).send(bytes([255] * 6) + open_mac(A, DEVICE_A) + struct.pack('!H', 0x0806) + bytes(28))
time.sleep(0.05)
`,
    where: 'b',
    reason: 'NOT_SPECIFIED',
    count: 1,
    protocol: 'arp',
    has: 'nothing',
    symbol: /xdp/,
  },
  {
    name: 'a wrong TCP checksum',
    program: 'raw(6, segment(PORT, 0x02, 0x5555))',
    where: 'b',
    reason: 'TCP_CSUM',
    count: 1,
    protocol: 'tcp',
  },
  {
    name: 'a protocol that nobody handles',
    program: "raw(253, b'x' * 20)",
    where: 'b',
    reason: 'IP_NOPROTO',
    count: 1,
    protocol: 'ip-253',
    has: 'addresses',
  },
  {
    name: 'a wrong checksum of the header',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged(ADDRESS[A], check=0x5555))`,
    where: 'b',
    reason: 'IP_CSUM',
    count: 1,
  },
  {
    name: 'a header that is not IPv4',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged(ADDRESS[A], version=0x65))`,
    where: 'b',
    reason: 'IP_INHDR',
    count: 1,
    protocol: 'ipv4',
    has: 'nothing',
  },
  {
    name: 'a loopback address from outside',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged('127.0.0.1'))`,
    where: 'b',
    reason: 'IP_LOCALNET',
    count: 1,
    source: '127.0.0.1',
  },
  {
    name: 'our own address as a source from outside',
    families: ['ipv4'],
    program: `${FORGED}\nframe(forged(ADDRESS[B]))`,
    where: 'b',
    reason: 'IP_LOCAL_SOURCE',
    count: 1,
    source: '10.9.0.2',
  },
  {
    name: 'a source whose route leads elsewhere',
    families: ['ipv4'],
    setUp: ({ b, deviceB }) =>
      void b.netns.exec(`sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.${deviceB}.rp_filter=1`),
    tearDown: ({ b, deviceB }) =>
      void b.netns.exec(`sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.${deviceB}.rp_filter=0`),
    program: `${FORGED}\nframe(forged('10.200.9.9'))`,
    where: 'b',
    reason: 'IP_RPFILTER',
    count: 1,
    source: '10.200.9.9',
  },
  {
    name: 'a packet for another host where forwarding is off',
    families: ['ipv4'],
    setUp: route('add'),
    tearDown: route('del'),
    program: `sock(A, socket.SOCK_DGRAM).sendto(b'x', ('${ELSEWHERE}', PORT))`,
    where: 'b',
    reason: 'IP_INADDRERRORS',
    count: 1,
    target: ELSEWHERE,
  },
  {
    name: 'a packet to forward without a route',
    families: ['ipv4'],
    setUp: (given) => [route('add'), forward(1)].map((act) => act(given)),
    tearDown: (given) => [route('del'), forward(0)].map((act) => act(given)),
    program: `sock(A, socket.SOCK_DGRAM).sendto(b'x', ('${ELSEWHERE}', PORT))`,
    where: 'b',
    reason: 'IP_INNOROUTES',
    count: 1,
    target: ELSEWHERE,
  },
  {
    name: 'a TTL that has run out',
    families: ['ipv4'],
    setUp: (given) => [route('add'), forward(1)].map((act) => act(given)),
    tearDown: (given) => [route('del'), forward(0)].map((act) => act(given)),
    program: `
s = sock(A, socket.SOCK_DGRAM); s.setsockopt(0, socket.IP_TTL, 1)
subprocess.run(['ip', '-n', B, 'route', 'add', '10.77.0.0/16', 'via', ADDRESS[A]], check=True)
s.sendto(b'x', ('${ELSEWHERE}', PORT))
subprocess.run(['ip', '-n', B, 'route', 'del', '10.77.0.0/16'], check=True)
`,
    where: 'b',
    reason: 'IP_INHDR',
    count: 1,
    target: ELSEWHERE,
  },
  {
    name: 'a neighbour that does not answer',
    families: ['ipv4'],
    program: `
client = sock(A, socket.SOCK_DGRAM)
for i in range(5): client.sendto(b'x', ('10.9.0.77', PORT))
time.sleep(3.3)
`,
    where: 'a',
    reason: 'NEIGH_FAILED',
    count: 5,
    target: '10.9.0.77',
  },
  {
    name: 'a neighbour of IPv6 that does not answer, for which the kernel has no reason',
    families: ['ipv6'],
    program: `
client = sock(A, socket.SOCK_DGRAM)
for i in range(5): client.sendto(b'x', ('fd09::77', PORT))
time.sleep(3.3)
`,
    where: 'a',
    reason: 'NOT_SPECIFIED',
    symbol: /neigh_invalidate|ndisc_error_report/,
    count: 5,
    target: 'fd09::77',
  },
  {
    name: 'a packet larger than the MTU of the other end',
    setUp: ({ b, deviceB }) => void b.netns.ip(`link set ${deviceB} mtu 1280`),
    tearDown: ({ b, deviceB }) => void b.netns.ip(`link set ${deviceB} mtu 1500`),
    program: "sock(A, socket.SOCK_DGRAM).sendto(b'x' * 1400, (ADDRESS[B], PORT))",
    where: 'a',
    reason: 'NOT_SPECIFIED',
    count: 1,
    byProcess: true,
    symbol: /forward_skb/,
  },
  {
    name: 'a tc filter that refuses to send',
    setUp: ({ a, deviceA }, filters) => {
      a.netns.tc(`qdisc add dev ${deviceA} clsact`);
      a.netns.tc(`filter add dev ${deviceA} egress bpf da obj ${filters} sec tc`);
    },
    tearDown: ({ a, deviceA }) => void a.netns.tc(`qdisc del dev ${deviceA} clsact`),
    program: SEND,
    where: 'a',
    reason: 'TC_EGRESS',
    count: 1,
    byProcess: true,
  },
  {
    name: 'a tc filter that refuses to receive',
    setUp: ({ b, deviceB }, filters) => {
      b.netns.tc(`qdisc add dev ${deviceB} clsact`);
      b.netns.tc(`filter add dev ${deviceB} ingress bpf da obj ${filters} sec tc`);
    },
    tearDown: ({ b, deviceB }) => void b.netns.tc(`qdisc del dev ${deviceB} clsact`),
    program: SEND,
    where: 'b',
    reason: 'TC_INGRESS',
    count: 1,
  },
  {
    name: 'an XDP program',
    setUp: ({ b, deviceB }, filters) => void b.netns.ip(`link set ${deviceB} xdp obj ${filters} sec xdp`),
    tearDown: ({ b, deviceB }) => void b.netns.ip(`link set ${deviceB} xdp off`),
    program: SEND,
    where: 'b',
    reason: 'NOT_SPECIFIED',
    count: 1,
    symbol: /xdp/,
  },
  {
    name: 'a program of the cgroup that refuses to send',
    program: `${REFUSE}
group = refuse(1)
s = sock(A, socket.SOCK_DGRAM)
try: s.sendto(b'x', (ADDRESS[B], PORT))
except PermissionError: pass
s.close()
allow(*group)
`,
    where: 'a',
    reason: 'BPF_CGROUP_EGRESS',
    count: 1,
    byProcess: true,
  },
  {
    name: 'a program of the cgroup that refuses to receive',
    program: `${REFUSE}
group = refuse(0)
s = sock(B, socket.SOCK_DGRAM); s.bind((ADDRESS[B], PORT))
${SEND}
time.sleep(0.05)
s.close()
allow(*group)
`,
    where: 'b',
    reason: 'SOCKET_FILTER',
    count: 1,
  },
  {
    name: 'a wrong ICMP checksum',
    families: ['ipv4'],
    program: "raw(1, struct.pack('!BBHI', 8, 0, 0x1234, 0))",
    where: 'b',
    reason: 'ICMP_CSUM',
    count: 1,
    protocol: 'icmp',
    has: 'addresses',
  },
  {
    name: 'a route into a black hole',
    families: ['ipv4'],
    setUp: (given) => [route('add'), forwardAll(1)].map((act) => act(given)),
    tearDown: (given) => [route('del'), forwardAll(0)].map((act) => act(given)),
    program: `sock(A, socket.SOCK_DGRAM).sendto(b'x', ('${ELSEWHERE}', PORT))`,
    where: 'b',
    reason: 'NOT_SPECIFIED',
    count: 1,
    symbol: /ip_error/,
    target: ELSEWHERE,
  },
  {
    name: 'a queue of connections that overflows',
    setUp: overflows(1),
    tearDown: overflows(0),
    program: OVERFLOW,
    where: 'b',
    reason: 'TCP_LISTEN_OVERFLOW',
    count: 1,
    protocol: 'tcp',
  },
  {
    name: 'a receive buffer that has become too small for the data on the way',
    program: `
def dropped():
    counters = subprocess.check_output(['ip', 'netns', 'exec', B, 'nstat', '-asz']).decode().split()
    return int(counters[counters.index('TcpExtTCPRcvQDrop') + 1])
before = dropped()
server, client, peer = connected(PORT)
peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
client.setblocking(False)
for i in range(20):
    try: client.send(b'x' * 20000)
    except BlockingIOError: pass
    time.sleep(0.005)
print(dropped() - before)
`,
    where: 'b',
    reason: 'PROTO_MEM',
    protocol: 'tcp',
  },
];
