import { join } from 'node:path';
import { BpfObject } from 'bpf-napi';
import { FILE, resetOutcome } from '#bpf/generated/tcpreset.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { ANY_REASON, COUNTED, Counts } from '#probe/counts.ts';
import { processConstants } from '#probe/scene.ts';
import { ResetReasons } from '#probes/tcpreset/reset_reasons.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import type { HostPair } from './hosts.ts';
import { OBJECTS } from './kernel.ts';
import { NO_OWNERS } from './owners.ts';

export interface ResetCase {
  readonly name: string;
  readonly program: string;
  /** All counts by namespace and label values. The outcome is `orderly` if no data is lost. */
  readonly counts: Readonly<Record<string, number>>;
  /** Sent resets by the reason that the agent derives on kernels without reset reasons. */
  readonly derived: Readonly<Record<string, number>>;
  /** Namespace in the event for the sent reset. If `byProcess` is set, the event also names the process. */
  readonly sender?: 'a' | 'b';
  readonly byProcess?: boolean;
  readonly state?: string;
  /** TCP state in the event for the received reset. */
  readonly receivedIn?: string;
  /** True if a timer causes the reset. */
  readonly byTimer?: boolean;
}

const LINGER = "client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))";

const PEER_LINGER = "peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))";

/** Makes the server lose a connection without notifying the client. */
const FORGET = `
server, client, peer = connected(PORT)
drop(B, 'tcp sport %d drop' % PORT, 'type filter hook output priority 0')
${PEER_LINGER}; peer.close(); undrop(B)
`;

/** Closes the client's socket, but drops its FIN. */
const CLOSE_UNHEARD = `
server, client, peer = connected(PORT)
drop(B, 'tcp dport %d tcp flags & fin == fin drop' % PORT)
client.close()
`;

/** The cases. Each program uses its own port `PORT`. */
export const RESET_CASES: readonly ResetCase[] = [
  {
    name: 'a closed port',
    program: 'assert sock(A).connect_ex((ADDRESS[B], PORT)) == 111',
    counts: { 'b sent NO_SOCKET': 1, 'a received refused': 1 },
    derived: { 'b sent no_listener': 1 },
    sender: 'b',
    receivedIn: 'SYN_SENT',
  },
  {
    name: 'SO_LINGER with a zero timeout',
    program: `server, client, peer = connected(PORT); ${LINGER}; client.close(); time.sleep(0.05)`,
    counts: { 'a sent TCP_STATE orderly': 1, 'b received by_peer orderly': 1 },
    derived: { 'a sent linger orderly': 1 },
    sender: 'a',
    byProcess: true,
    state: 'CLOSE',
    receivedIn: 'ESTABLISHED',
  },
  {
    name: 'SO_LINGER with a zero timeout while data is in flight',
    program: `
server, client, peer = connected(PORT)
drop(B, 'tcp dport %d drop' % PORT)
client.send(b'x'); ${LINGER}; client.close()
${PEER_LINGER}; peer.close()
undrop(B)
`,
    counts: { 'a sent TCP_STATE': 1, 'b sent TCP_STATE orderly': 1 },
    derived: { 'a sent linger': 1, 'b sent linger orderly': 1 },
    sender: 'a',
    byProcess: true,
    state: 'CLOSE',
  },
  {
    name: 'a close with unread data',
    program:
      "server, client, peer = connected(PORT); peer.send(b'x' * 99); time.sleep(0.05); client.close(); time.sleep(0.05)",
    counts: { 'a sent TCP_ABORT_ON_CLOSE': 1, 'b received by_peer orderly': 1 },
    derived: { 'a sent unread_data': 1 },
    sender: 'a',
    byProcess: true,
    state: 'CLOSE',
    receivedIn: 'ESTABLISHED',
  },
  {
    name: 'a close with an unread close_notify',
    program:
      "server, client, peer = connected(PORT); peer.send(b'x' * 24); time.sleep(0.05); client.send(b'x' * 24); client.shutdown(1); client.close(); time.sleep(0.05)",
    counts: { 'a sent TCP_ABORT_ON_CLOSE orderly': 1, 'b received broken_pipe orderly': 1 },
    derived: { 'a sent unread_data orderly': 1 },
    sender: 'a',
    byProcess: true,
    state: 'CLOSE',
    receivedIn: 'CLOSE_WAIT',
  },
  {
    name: 'data after the close',
    program:
      "server, client, peer = connected(PORT); client.close(); time.sleep(0.05); peer.send(b'x'); time.sleep(0.05)",
    counts: { 'a sent TCP_TIMEWAIT_SOCKET': 1, 'b received broken_pipe': 1 },
    derived: { 'a sent time_wait': 1 },
    sender: 'a',
    state: 'TIME_WAIT',
    receivedIn: 'CLOSE_WAIT',
  },
  {
    name: 'a close_notify after the close',
    program:
      "server, client, peer = connected(PORT); client.close(); time.sleep(0.05); peer.send(b'x' * 24); time.sleep(0.05)",
    counts: { 'a sent TCP_TIMEWAIT_SOCKET orderly': 1, 'b received broken_pipe orderly': 1 },
    derived: { 'a sent time_wait orderly': 1 },
    sender: 'a',
    state: 'TIME_WAIT',
    receivedIn: 'CLOSE_WAIT',
  },
  {
    name: 'data that crosses the close',
    program: `${CLOSE_UNHEARD}peer.send(b'x' * 99); time.sleep(0.05); undrop(B)`,
    counts: { 'a received by_peer orderly': 1, 'a sent TCP_ABORT_ON_DATA': 1, 'b received by_peer': 1 },
    derived: { 'a sent after_close': 1 },
    sender: 'a',
    state: 'CLOSE',
    receivedIn: 'FIN_WAIT1',
  },
  {
    name: 'a close_notify that crosses the close',
    program: `${CLOSE_UNHEARD}peer.send(b'x' * 24); time.sleep(0.05); undrop(B)`,
    counts: { 'a received by_peer orderly': 1, 'a sent TCP_ABORT_ON_DATA orderly': 1, 'b received by_peer orderly': 1 },
    derived: { 'a sent after_close orderly': 1 },
    sender: 'a',
    state: 'CLOSE',
    receivedIn: 'FIN_WAIT1',
  },
  {
    name: 'data after a shutdown of both directions',
    program:
      "server, client, peer = connected(PORT); client.shutdown(2); time.sleep(0.05); peer.send(b'x' * 99); time.sleep(0.05)",
    counts: { 'a received by_peer orderly': 1, 'a sent TCP_ABORT_ON_DATA': 1, 'b received broken_pipe': 1 },
    derived: { 'a sent after_close': 1 },
    sender: 'a',
    state: 'CLOSE',
    receivedIn: 'FIN_WAIT2',
  },
  {
    name: 'an acknowledgement of data that was never sent',
    program: `
client = sock(B); client.bind((ADDRESS[B], PORT)); client.setblocking(False)
drop(A, 'tcp dport 40000 drop')
client.connect_ex((ADDRESS[A], 40000))
raw(6, segment(PORT, 0x10)); time.sleep(0.05)
client.close(); undrop(A)
`,
    counts: { 'b sent TCP_INVALID_ACK_SEQUENCE': 1 },
    derived: { 'b sent invalid_segment': 1 },
    sender: 'b',
    state: 'SYN_SENT',
  },
  {
    name: 'TCP_LINGER2 with a zero timeout',
    program:
      'server, client, peer = connected(PORT); client.setsockopt(6, socket.TCP_LINGER2, -1); client.close(); time.sleep(0.1)',
    counts: { 'a sent TCP_ABORT_ON_DATA orderly': 1, 'b received broken_pipe orderly': 1 },
    derived: { 'a sent after_close orderly': 1 },
    sender: 'a',
    state: 'CLOSE',
    receivedIn: 'CLOSE_WAIT',
  },
  {
    name: 'a FIN on a connection that is gone',
    program: `${FORGET}server.close(); client.close(); time.sleep(0.05)`,
    counts: { 'b sent TCP_STATE orderly': 1, 'b sent NO_SOCKET orderly': 1, 'a received by_peer orderly': 1 },
    derived: { 'b sent linger orderly': 1, 'b sent no_listener orderly': 1 },
    receivedIn: 'FIN_WAIT1',
  },
  {
    name: 'a request on a connection that is gone',
    program: `${FORGET}server.close(); client.send(b'request'); time.sleep(0.05)`,
    counts: { 'b sent TCP_STATE orderly': 1, 'b sent NO_SOCKET': 1, 'a received by_peer': 1 },
    derived: { 'b sent linger orderly': 1, 'b sent no_listener': 1 },
    receivedIn: 'ESTABLISHED',
  },
  {
    name: 'a keepalive to a server that has restarted',
    program: `${FORGET}
client.setsockopt(6, socket.TCP_KEEPIDLE, 1); client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
select.select([client], [], [], 5); time.sleep(0.05)
`,
    counts: { 'b sent TCP_STATE orderly': 1, 'b sent TCP_FLAGS orderly': 1, 'a received by_peer orderly': 1 },
    derived: { 'b sent linger orderly': 1, 'b sent invalid_segment orderly': 1 },
    receivedIn: 'ESTABLISHED',
    byTimer: true,
  },
  {
    name: 'a request to a server that has restarted',
    program: `${FORGET}client.send(b'request'); time.sleep(0.05)`,
    counts: { 'b sent TCP_STATE orderly': 1, 'b sent TCP_FLAGS': 1, 'a received by_peer': 1 },
    derived: { 'b sent linger orderly': 1, 'b sent invalid_segment': 1 },
    receivedIn: 'ESTABLISHED',
  },
  {
    name: 'an ACK to a listening port',
    program: 'server = listen(B, PORT); raw(6, segment(PORT, 0x10)); time.sleep(0.05)',
    counts: { 'b sent TCP_FLAGS orderly': 1 },
    derived: { 'b sent invalid_segment orderly': 1 },
    sender: 'b',
    state: 'LISTEN',
  },
  {
    name: 'a listening socket that is closed while a connection waits',
    program:
      'server = listen(B, PORT); client = sock(A); client.connect((ADDRESS[B], PORT)); time.sleep(0.05); server.close(); time.sleep(0.05)',
    counts: { 'b sent TCP_STATE': 1, 'a received by_peer orderly': 1 },
    derived: { 'b sent not_accepted': 1 },
    sender: 'b',
    byProcess: true,
    state: 'CLOSE',
    receivedIn: 'ESTABLISHED',
  },
  {
    name: 'a reset that netfilter sends',
    program:
      "drop(B, 'tcp dport %d reject with tcp reset' % PORT); assert sock(A).connect_ex((ADDRESS[B], PORT)) == 111; undrop(B)",
    counts: { 'a received refused': 1 },
    derived: {},
    receivedIn: 'SYN_SENT',
  },
  {
    name: 'keepalives without an answer',
    program: `
server, client, peer = connected(PORT)
client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT): client.setsockopt(6, option, 1)
drop(B, 'tcp dport %d drop' % PORT)
time.sleep(2.5)
undrop(B)
${LINGER}
${PEER_LINGER}
`,
    counts: { 'a sent TCP_KEEPALIVE_TIMEOUT': 1, 'b sent TCP_STATE orderly': 1 },
    derived: { 'a sent keepalive': 1, 'b sent linger orderly': 1 },
    sender: 'a',
    state: 'ESTABLISHED',
    byTimer: true,
  },
  {
    name: 'a queue of connections that overflows',
    program: `
def answer(on):
    settings = ['net.ipv4.tcp_abort_on_overflow=%d' % on, 'net.ipv4.tcp_syncookies=%d' % (1 - on)]
    subprocess.run(['ip', 'netns', 'exec', B, 'sysctl', '-qw', *settings], check=True)
answer(1)
server = listen(B, PORT, 2)
def connect():
    c = sock(A); c.setblocking(False); c.connect_ex((ADDRESS[B], PORT))
    return c
clients = [connect(), connect()]
time.sleep(0.05)
drop(B, 'tcp dport %d tcp flags & (syn|ack) == ack drop' % PORT)
clients += [connect(), connect()]
time.sleep(0.05)
undrop(B)
for client in clients[2:]:
    client.send(b'x'); time.sleep(0.05)
answer(0)
for client in clients[:3]:
    ${LINGER}
    client.close(); time.sleep(0.05)
`,
    counts: {
      'b sent INVALID_SYN': 1,
      'a received by_peer': 1,
      'a sent TCP_STATE orderly': 3,
      'b received by_peer orderly': 3,
    },
    derived: { 'b sent queue_full': 1, 'a sent linger orderly': 3 },
    sender: 'b',
    state: 'LISTEN',
    receivedIn: 'ESTABLISHED',
  },
];

const directionOf = (side: number) => ((side & 1) === 0 ? 'sent' : 'received');
const isOrderly = (side: number) => side >> 1 === resetOutcome.orderly;

/** Counts resets with the given programs, even if the agent would use other programs on this kernel. */
export class ResetCounter implements Disposable {
  readonly #object: BpfObject;
  readonly #counts: Counts;
  readonly #reasons: ResetReasons;

  private constructor(object: BpfObject, reasons: ResetReasons) {
    this.#object = object;
    this.#counts = new Counts(object, (rest) => ({ reason: ANY_REASON, side: rest }), NO_OWNERS, {
      value: COUNTED.initial(),
    });
    this.#reasons = reasons;
  }

  static async open(programs: readonly string[]): Promise<ResetCounter> {
    const btf = new BpfSource(OBJECTS, DEFAULT_PATHS.sys).btf();
    const object = await BpfObject.open(join(OBJECTS, FILE));
    object.choosePrograms(programs);
    for (const [name, value] of Object.entries(processConstants(btf))) object.setVariable(name, value);
    await object.load();
    for (const program of programs) await object.attach(program);
    return new ResetCounter(object, new ResetReasons(btf));
  }

  /** Returns the counts in the two namespaces while `happen` runs, in the format of `ResetCase.counts`. */
  async during<T>(
    pair: HostPair,
    happen: () => Promise<T>,
  ): Promise<{ readonly derived: Record<string, number>; readonly result: T }> {
    const before = this.#read(pair);
    const result = await happen();
    const grown = [...this.#read(pair)].map(([key, count]) => [key, count - (before.get(key) ?? 0)] as const);
    return { derived: Object.fromEntries(grown.filter(([, count]) => count > 0)), result };
  }

  #read({ a, b }: HostPair): Map<string, number> {
    const names = new Map([
      [a.netns.id, 'a'],
      [b.netns.id, 'b'],
    ]);
    const rows = this.#counts.rows().filter(({ netns }) => names.has(BigInt(netns)));
    return new Map(
      rows.map(({ netns, reason, side, count }) => [
        `${names.get(BigInt(netns))} ${directionOf(side)} ${this.#reasons.name(reason)}${isOrderly(side) ? ' orderly' : ''}`,
        Number(count),
      ]),
    );
  }

  [Symbol.dispose](): void {
    this.#object.close();
  }
}
