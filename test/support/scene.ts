import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { EventRecord } from '#api/events.ts';
import { run } from './command.ts';
import { type Exposition, sampleValue } from './exposition.ts';
import type { TestKernel } from './kernel.ts';

export type Family = 'ipv4' | 'ipv6';
export const FAMILIES: readonly Family[] = ['ipv4', 'ipv6'];

/** Namespaces in which a scene is played. */
export interface ScenePair {
  readonly a: { readonly netns: { readonly name: string } };
  readonly b: { readonly netns: { readonly name: string } };
  readonly addressA: Readonly<Record<Family, string>>;
  readonly addressB: Readonly<Record<Family, string>>;
}

/**
 * Beginning of each program. A single Python process has sockets in both namespaces, so actions at both ends
 * happen in a defined order.
 */
const PRELUDE = `
import ctypes, os, select, socket, struct, subprocess, time
libc = ctypes.CDLL(None)
print(os.getpid())
def enter(ns):
    fd = os.open(ns if ns.startswith('/') else '/run/netns/' + ns, os.O_RDONLY)
    assert libc.setns(fd, 0x40000000) == 0
    os.close(fd)
def sock(ns, kind=socket.SOCK_STREAM, protocol=0):
    enter(ns)
    return socket.socket(FAMILY, kind, protocol)
def listen(ns, port, backlog=8):
    s = sock(ns)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((ADDRESS[ns], port))
    s.listen(backlog)
    return s
def connected(port):
    server = listen(B, port)
    client = sock(A)
    client.connect((ADDRESS[B], port))
    peer, _ = server.accept()
    return server, client, peer
def nft(ns, rule):
    subprocess.run(['ip', 'netns', 'exec', ns, 'nft', rule], check=True)
def drop(ns, rule, chain='type filter hook input priority 0'):
    nft(ns, 'add table inet scene; add chain inet scene c { ' + chain + '; }; add rule inet scene c ' + rule)
def undrop(ns):
    nft(ns, 'delete table inet scene')
def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def pseudo(protocol, length):
    a, b = (socket.inet_pton(FAMILY, ADDRESS[x]) for x in (A, B))
    return a + b + struct.pack('!IHBB', length, 0, 0, protocol) if V6 else a + b + struct.pack('!BBH', 0, protocol, length)
def segment(port, flags, wrong=0):
    def header(check):
        return struct.pack('!HHIIBBHHH', 40000, port, 1, 1, 0x50, flags, 1024, check, 0)
    return header(checksum(pseudo(6, 20) + header(0)) ^ wrong)
def datagram(port, wrong=0):
    def header(check):
        return struct.pack('!HHHH', 40000, port, 12, check) + b'data'
    return header(checksum(pseudo(17, 12) + header(0)) ^ wrong)
def raw(protocol, payload):
    sock(A, socket.SOCK_RAW, protocol).sendto(payload, (ADDRESS[B], 0))
`;

const execute = promisify(execFile);

/**
 * Runs a Python program that causes an anomaly between the two namespaces of a pair, `A` and `B`. Returns the program's
 * PID and the numbers that it printed.
 */
export async function playScene(
  pair: ScenePair,
  family: Family,
  program: string,
): Promise<{ pid: number; printed: number[] }> {
  const { stdout } = await execute('python3', argumentsOf(pair, family, program));
  const [pid = 0, ...printed] = stdout.trim().split('\n').map(Number);
  return { pid, printed };
}

/** Like `playScene`, but blocks this thread until the program ends. */
export function playSceneSync(pair: ScenePair, family: Family, program: string): void {
  run('python3', ...argumentsOf(pair, family, program));
}

function argumentsOf(pair: ScenePair, family: Family, program: string): string[] {
  const [a, b] = [pair.a.netns.name, pair.b.netns.name];
  const constants = `
import socket
A, B, V6 = '${a}', '${b}', ${family === 'ipv6' ? 'True' : 'False'}
FAMILY = socket.AF_INET6 if V6 else socket.AF_INET
ADDRESS = { A: '${pair.addressA[family]}', B: '${pair.addressB[family]}' }
`;
  return ['-u', '-c', constants + PRELUDE + program];
}

/** Renders `address:port` in the format of events. */
export function endpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Returns the nonzero increases of a metric while `happen` runs, by namespace and label values. */
export async function growth<T>(
  agent: TestKernel,
  pods: Readonly<Record<string, string>>,
  metric: string,
  label: string,
  happen: () => Promise<T>,
  read: () => Promise<Exposition> = () => agent.page(),
): Promise<{ grown: Record<string, number>; result: T }> {
  const before = readAll(await read(), pods, metric, label);
  const result = await happen();
  const grown: Record<string, number> = {};
  for (const [key, value] of Object.entries(readAll(await read(), pods, metric, label))) {
    const more = value - (before[key] ?? 0);
    if (more !== 0) grown[key] = more;
  }
  return { grown, result };
}

function readAll(
  page: Exposition,
  pods: Readonly<Record<string, string>>,
  metric: string,
  label: string,
): Record<string, number> {
  const values: Record<string, number> = {};
  const names = new Map(Object.entries(pods).map(([name, pod]) => [pod, name]));
  for (const { labels } of page.named.get(metric) ?? []) {
    const name = names.get(labels['pod'] ?? '');
    if (name === undefined) continue;
    const direction = labels['direction'] === undefined ? '' : ` ${labels['direction']}`;
    const orderly = labels['outcome'] === 'orderly' ? ' orderly' : '';
    values[`${name}${direction} ${labels[label]}${orderly}`] = sampleValue(page, metric, labels) ?? 0;
  }
  return values;
}

/** Returns the events in which either end has this port. */
export function eventsOf(agent: TestKernel, port: number): EventRecord[] {
  return agent.events.filter(({ src, dst }) => [src, dst].some((end) => end?.endsWith(`:${port}`)));
}
