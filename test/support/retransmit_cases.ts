import type { TestNetns } from './hosts.ts';

/** Something that makes TCP send again, as a program for playScene(), and how the kernel counts it. */
export interface RetransmitCase {
  readonly name: string;
  readonly program: string;
  readonly sender: 'a' | 'b';
  readonly state: string;
  /** The counter of the kernel that must have grown as much, for each kind that must be there. */
  readonly kinds: Readonly<Record<string, string>>;
}

/** Each on a port of its own: PORT. */
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
  },
  {
    name: 'a SYN-ACK that nobody confirms',
    program: `
server = listen(B, PORT)
drop(B, 'tcp dport %d tcp flags & (syn|ack) == ack drop' % PORT)
client = sock(A); client.connect((ADDRESS[B], PORT)); time.sleep(1.3)
undrop(B); server.close()
`,
    sender: 'b',
    state: 'NEW_SYN_RECV',
    kinds: { synack: 'TcpExtTCPSynRetrans' },
  },
];

/** The kernel's counters of a namespace, by the names of nstat. */
export function tcpCounters(netns: TestNetns): Record<string, number> {
  const { kernel } = JSON.parse(netns.exec('nstat -asj')) as { kernel: Record<string, number> };
  return kernel;
}
