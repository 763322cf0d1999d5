import type { TestNetns } from './hosts.ts';

/** A case in which TCP retransmits: a program for playScene(), and the kernel counters that must increase. */
export interface RetransmitCase {
  readonly name: string;
  readonly program: string;
  readonly sender: 'a' | 'b';
  readonly state: string;
  /**
   * Expected kinds of retransmissions. Each is mapped to the kernel counter that must have increased by the same
   * amount.
   */
  readonly kinds: Readonly<Record<string, string>>;
  /**
   * Whether data is lost. Lost data causes a warning. Loss probes, and retransmissions of a FIN without data, do not.
   */
  readonly isLoss: boolean;
}

/** Configuration with which every retransmission causes an event. */
export const RETRANSMIT_PROBES = { tcpretrans: { lossProbes: true } };

export function severityOf(
  { isLoss }: RetransmitCase,
  { kind, bytes, state }: Readonly<Record<string, unknown>>,
): string {
  return isLoss && kind !== 'tlp' && (state !== 'FIN_WAIT1' || bytes !== 0) ? 'warning' : 'info';
}

/**
 * Sends segments that are too large for a link. The router's ICMP message reaches the sender, so all data arrives
 * without a timeout.
 */
export const PATH_MTU_PROGRAM = `
server, client, peer = connected(PORT)
client.sendall(b'x' * 30000)
assert len(peer.recv(30000, socket.MSG_WAITALL)) == 30000
`;

/**
 * Sends segments that are too large for a link, and drops the router's ICMP message. No large segment arrives, so
 * segments are retransmitted after a timeout.
 */
export const BLACK_HOLE_PROGRAM = `
server, client, peer = connected(PORT)
client.sendall(b'x' * 30000); time.sleep(0.8)
peer.setblocking(False)
try: assert peer.recv(1) is None
except BlockingIOError: pass
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0)); client.close()
`;

/** The cases. Each program uses its own port `PORT`. */
export const RETRANSMIT_CASES: readonly RetransmitCase[] = [
  {
    name: 'data that does not get through: first a probe, then timeouts',
    program: `
server, client, peer = connected(PORT)
client.send(b'x' * 99); peer.recv(99); time.sleep(0.1)
drop(B, 'tcp dport %d drop' % PORT)
client.send(b'y' * 99); time.sleep(1.1)
undrop(B)
peer.recv(99)
`,
    sender: 'a',
    state: 'ESTABLISHED',
    kinds: { tlp: 'TcpExtTCPLossProbes', rto: 'TcpExtTCPTimeouts' },
    isLoss: true,
  },
  {
    name: 'one lost segment of many',
    program: `
server, client, peer = connected(PORT)
client.setsockopt(6, socket.TCP_NODELAY, 1)
client.send(b'x'); peer.recv(1)
nft(B, 'add table inet scene; add chain inet scene c { type filter hook input priority 0; }; add rule inet scene c tcp dport %d limit rate over 1/hour burst 1 packets accept; add rule inet scene c tcp dport %d drop' % (PORT, PORT))
for i in range(12): client.send(b'y' * 50)
time.sleep(0.3)
undrop(B)
assert len(peer.recv(600, socket.MSG_WAITALL)) == 600
`,
    sender: 'a',
    state: 'ESTABLISHED',
    kinds: { fast: 'TcpExtTCPFastRetrans' },
    isLoss: true,
  },
  {
    name: 'a SYN that does not get through',
    program: `
drop(B, 'tcp dport %d drop' % PORT)
client = sock(A); client.setblocking(False)
client.connect_ex((ADDRESS[B], PORT)); time.sleep(1.3)
client.close(); undrop(B)
`,
    sender: 'a',
    state: 'SYN_SENT',
    kinds: { syn: 'TcpExtTCPSynRetrans' },
    isLoss: true,
  },
  {
    name: 'a SYN-ACK that nobody acknowledges',
    program: `
server = listen(B, PORT)
drop(B, 'tcp dport %d tcp flags & (syn|ack) == ack drop' % PORT)
client = sock(A); client.connect((ADDRESS[B], PORT)); time.sleep(1.3)
undrop(B); server.close()
`,
    sender: 'b',
    state: 'NEW_SYN_RECV',
    kinds: { synack: 'TcpExtTCPSynRetrans' },
    isLoss: true,
  },
  {
    name: 'a SYN-ACK while the server waits for data',
    program: `
server = listen(B, PORT); server.setsockopt(6, socket.TCP_DEFER_ACCEPT, 1)
client = sock(A); client.connect((ADDRESS[B], PORT)); time.sleep(1.3)
client.send(b'x'); peer, _ = server.accept(); assert peer.recv(1) == b'x'
`,
    sender: 'b',
    state: 'NEW_SYN_RECV',
    kinds: { synack: 'TcpExtTCPSynRetrans' },
    isLoss: false,
  },
  {
    name: 'data that the server does not take with the SYN',
    program: `
subprocess.run(['ip', 'netns', 'exec', A, 'sysctl', '-qw', 'net.ipv4.tcp_fastopen=5'], check=True)
server = listen(B, PORT)
client = sock(A); client.setsockopt(6, 30, 1)
client.connect((ADDRESS[B], PORT)); client.send(b'x' * 99)
peer, _ = server.accept(); assert peer.recv(99, socket.MSG_WAITALL) == b'x' * 99
`,
    sender: 'a',
    state: 'ESTABLISHED',
    kinds: { fastopen: 'TcpRetransSegs' },
    isLoss: false,
  },
  {
    name: 'an orderly close that the server acknowledges late',
    program: `
server, client, peer = connected(PORT)
for i in range(4):
    client.send(b'x'); peer.recv(1); peer.send(b'y'); client.recv(1)
client.send(b'x'); client.close(); time.sleep(0.03)
assert peer.recv(9) == b'x'; peer.close()
`,
    sender: 'a',
    state: 'FIN_WAIT1',
    kinds: { tlp: 'TcpExtTCPDSACKRecv' },
    isLoss: false,
  },
  {
    name: 'a FIN that does not get through',
    program: `
server, client, peer = connected(PORT)
client.send(b'x' * 99); peer.recv(99); time.sleep(0.1)
drop(B, 'tcp dport %d drop' % PORT)
client.close(); time.sleep(0.5); undrop(B)
peer.recv(1)
`,
    sender: 'a',
    state: 'FIN_WAIT1',
    kinds: { tlp: 'TcpExtTCPLossProbes', rto: 'TcpExtTCPTimeouts' },
    isLoss: false,
  },
  {
    name: 'data and a FIN that do not get through',
    program: `
server, client, peer = connected(PORT)
client.send(b'x' * 99); peer.recv(99); time.sleep(0.1)
drop(B, 'tcp dport %d drop' % PORT)
client.send(b'y' * 9); client.close(); time.sleep(0.7); undrop(B)
assert peer.recv(9, socket.MSG_WAITALL) == b'y' * 9; peer.recv(1)
`,
    sender: 'a',
    state: 'FIN_WAIT1',
    kinds: { tlp: 'TcpExtTCPLossProbes', rto: 'NOT_PROBES' },
    isLoss: true,
  },
];

/** Returns the kernel's counters of a namespace by their names in nstat. */
export function tcpCounters(netns: TestNetns): Record<string, number> {
  const { kernel } = JSON.parse(netns.exec('nstat -asj')) as { kernel: Record<string, number> };
  // After a timeout, TCP retransmits the other lost segments without further timeouts, so these segments have no
  // counter of their own.
  return { ...kernel, NOT_PROBES: (kernel['TcpRetransSegs'] ?? 0) - (kernel['TcpExtTCPLossProbes'] ?? 0) };
}
