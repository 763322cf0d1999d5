import type { Exposition } from './exposition.ts';
import type { HostPair } from './hosts.ts';
import { playScene } from './scene.ts';

const PROCESSES = 8;
const PORT = 7_700;
const BYTES = 100;
/**
 * Delay of every packet in both directions. A timer interrupt delivers the delayed packet, possibly while a BPF program
 * is running.
 */
const DELAY = '2ms';

/**
 * Opens and closes connections in several processes at once. Every third connection is aborted. The program exits only
 * once the counters of all sockets are final.
 */
const program = (count: number) => `
import sys, traceback
def play(port):
    server = listen(B, port)
    for turn in range(${count}):
        client = sock(A)
        client.connect((ADDRESS[B], port))
        peer, _ = server.accept()
        client.sendall(bytes(${BYTES}))
        left = ${BYTES}
        while left: left -= len(peer.recv(left))
        first, second = (client, peer) if turn % 2 else (peer, client)
        if turn % 3 == 0: first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        first.close()
        try: second.recv(1)
        except ConnectionResetError: pass
        second.close()
    server.close()
def fork(port):
    pid = os.fork()
    if pid: return pid
    status = 1
    try:
        play(port)
        status = 0
    except Exception: traceback.print_exc()
    finally: os._exit(status)
children = [fork(${PORT} + index) for index in range(${PROCESSES})]
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * ${PROCESSES}
TIME_WAIT, LISTEN = '06', '0A'
def is_left(line):
    return line.split()[3] not in ('st', TIME_WAIT, LISTEN)
def survey(ns):
    enter(ns)
    return [line for line in open('/proc/self/net/tcp') if is_left(line)]
while survey(A) or survey(B): time.sleep(0.05)
`;

/** Delays the packets between the two namespaces. */
export function delayPackets({ a, b, deviceA, deviceB }: HostPair): void {
  a.netns.tc(`qdisc add dev ${deviceA} root netem delay ${DELAY}`);
  b.netns.tc(`qdisc add dev ${deviceB} root netem delay ${DELAY}`);
}

/** Sums over both ends of the connections. */
export interface Closed {
  readonly connections: number;
  readonly bytes: number;
}

/** Opens and closes connections, and returns the expected sums. @param count number of connections of each process */
export async function closeMany(pair: HostPair, count: number): Promise<Closed> {
  await playScene(pair, 'ipv4', program(count));
  const connections = 2 * PROCESSES * count;
  return { connections, bytes: connections * BYTES };
}

/** Returns the sums that a page shows for both ends. */
export function closedOn({ named }: Exposition, { a, b }: HostPair): Closed {
  const pods = [a.netns.name, b.netns.name];
  const sum = (...names: string[]) =>
    names
      .flatMap((name) => named.get(name) ?? [])
      .reduce((total, { labels, value }) => total + (pods.includes(labels['pod'] ?? '') ? Number(value) : 0), 0);
  return {
    connections: sum('netsonde_flow_connections_total'),
    bytes: sum('netsonde_flow_sent_bytes_total', 'netsonde_flow_received_bytes_total'),
  };
}
