import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { BpfError, echo, netlinkDump } from 'bpf-napi';
import { tcpState } from '#bpf/generated/common.ts';
import { joinEndpoint, portOf } from '#core/address.ts';
import { decodeInetDiag, TCP_DIAG_REQUESTS } from '#sources/netlink/inet_diag.ts';
import { NETLINK } from '#sources/netlink/message.ts';
import { readPortRange } from '#sources/procfs/port_range.ts';
import { parseSnmp, parseSnmp6 } from '#sources/procfs/snmp.ts';
import type { Trial } from '#why/evidence.ts';
import { bounded } from './bounded.ts';
import { requestHttp } from './http.ts';
import type { Counts, TrialPlan } from './messages.ts';
import { Deadline, errnoOf } from './timeouts.ts';
import { startTls } from './tls.ts';

/** Files of this thread, and so of the namespace that it has entered. */
const PROC = '/proc';
const OWN = `${PROC}/thread-self/net`;
const PORT_TRIES = 10;
/** Maximum number of redirects that are followed, as in browsers. */
const REDIRECTS_MAX = 20;
/** Data of an echo request, as sent by ping. */
const ECHO_BYTES = 56;
const DATAGRAM = Buffer.from('netsonde-reach');
/** Number of the errors of the kernel that can prevent an echo request. */
const ERRNOS: ReadonlyMap<number, string> = new Map([
  [13, 'EACCES'],
  [22, 'EINVAL'],
  [101, 'ENETUNREACH'],
  [113, 'EHOSTUNREACH'],
]);
/** Milliseconds after which the queue of a connection is looked at again. */
const ACKNOWLEDGED_EVERY_MS = 50;
const SOCKETS_BYTES_MAX = 16 * 1024 ** 2;

type Tell = (text: string) => void;
type Outcome = Omit<Trial, 'host' | 'port' | 'protocol' | 'names' | 'ip' | 'localIp'>;

/** Reads the counters of this thread's namespace. */
export function readCounts(): Counts {
  const counts: Record<string, number> = {};
  const ignore = () => undefined;
  for (const file of ['snmp', 'netstat']) {
    for (const [table, fields] of parseSnmp(readFileSync(`${OWN}/${file}`, 'utf8'), ignore)) {
      for (const [field, value] of fields) counts[`${table}.${field}`] = Number(value);
    }
  }
  for (const [name, value] of parseSnmp6(readFileSync(`${OWN}/snmp6`, 'utf8'), ignore)) {
    counts[name.replace(/^(Ip6|Icmp6|Udp6|UdpLite6)/, '$1.')] = Number(value);
  }
  return counts;
}

/** Returns the address from which the kernel would send to another one; undefined if it has no route. No packet is sent. */
export async function localAddress(ip: string): Promise<string | undefined> {
  const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4');
  try {
    const connected = once(socket, 'connect');
    socket.connect(9, ip);
    await connected;
    return socket.address().address;
  } catch {
    return undefined;
  } finally {
    socket.close();
  }
}

/** Carries out a trial in the namespace of this thread. @param ip address of the server */
export function attempt(plan: TrialPlan, ip: string, localIp: string | undefined, tell: Tell): Promise<Outcome> {
  if (plan.protocol === 'icmp') return Promise.resolve(attemptEcho(plan, ip, tell));
  return plan.protocol === 'udp' ? attemptUdp(plan, ip, tell) : attemptTcp(plan, ip, localIp, tell);
}

function attemptEcho({ size, timeoutMs }: TrialPlan, ip: string, tell: Tell): Outcome {
  try {
    const { kind, ms, type, code, from } = echo(ip, size ?? ECHO_BYTES, timeoutMs);
    if (kind === 'reply') {
      tell(`ICMP: reply after ${ms.toFixed(1)} ms`);
      return { stage: 'done' };
    }
    tell(
      kind === 'timeout'
        ? `ICMP: no reply within ${timeoutMs / 1000} s`
        : `ICMP: ${from} reports type ${type}, code ${code}`,
    );
    return kind === 'timeout'
      ? { stage: 'connect', errno: 'ETIMEDOUT' }
      : { stage: 'connect', icmp: { type, code, from } };
  } catch (error) {
    if (!(error instanceof BpfError) || error.operation !== 'echo') throw error;
    const errno = ERRNOS.get(error.errno) ?? String(error.errno);
    tell(`ICMP: the request cannot be sent: ${errno}`);
    return { stage: 'connect', errno };
  }
}

async function attemptUdp(
  { port, size, timeoutMs, localPort: chosenPort }: TrialPlan,
  ip: string,
  tell: Tell,
): Promise<Outcome> {
  const socket = createSocket(ip.includes(':') ? 'udp6' : 'udp4');
  using deadline = new Deadline(timeoutMs);
  let local: string | undefined;
  try {
    if (chosenPort !== undefined) {
      const bound = once(socket, 'listening');
      socket.bind(chosenPort);
      await bound;
    }
    const connected = once(socket, 'connect');
    socket.connect(port, ip);
    await connected;
    const { address, port: localPort } = socket.address();
    local = joinEndpoint(address, localPort);
    const start = performance.now();
    const received = once(socket, 'message');
    socket.send(size === undefined ? DATAGRAM : Buffer.alloc(size));
    tell(`UDP: ${size ?? DATAGRAM.length} bytes from ${local} to ${joinEndpoint(ip, port)}`);
    const [message] = (await deadline.race(received)) as [Buffer];
    tell(`UDP: response of ${message.length} bytes after ${(performance.now() - start).toFixed(1)} ms`);
    return { stage: 'done', local };
  } catch (error) {
    const errno = errnoOf(error);
    tell(errno === 'ETIMEDOUT' ? `UDP: no response within ${timeoutMs / 1000} s` : `UDP: ${errno}`);
    return { stage: 'connect', errno, local };
  } finally {
    socket.close();
  }
}

async function attemptTcp(plan: TrialPlan, ip: string, localIp: string | undefined, tell: Tell): Promise<Outcome> {
  const redirects: string[] = [];
  let path = plan.httpPath;
  for (;;) {
    const outcome = await attemptOnce({ ...plan, httpPath: path }, ip, localIp, tell);
    const { http, next } = outcome;
    if (http === undefined) return outcome;
    redirects.push(path ?? '');
    const isLoop = next !== undefined && (redirects.includes(next) || redirects.length > REDIRECTS_MAX);
    const { next: _, ...rest } = outcome;
    if (next === undefined || isLoop) {
      return {
        ...rest,
        http: { ...http, redirects: (isLoop ? [...redirects, next] : redirects).map(bounded), isLoop },
      };
    }
    path = next;
  }
}

async function attemptOnce(
  plan: TrialPlan,
  ip: string,
  localIp: string | undefined,
  tell: Tell,
): Promise<Outcome & { readonly next?: string | undefined }> {
  const { port, timeoutMs, tls, httpPath, size } = plan;
  let stage: Trial['stage'] = 'connect';
  let facts: Pick<Outcome, 'tls' | 'http' | 'connectMs'> = {};
  let socket: Socket | undefined;
  let local: string | undefined;
  try {
    using deadline = new Deadline(timeoutMs);
    const start = performance.now();
    ({ socket, local } = await open({ ip, port, localIp, localPort: plan.localPort }, deadline));
    const connectMs = performance.now() - start;
    facts = { connectMs };
    tell(`TCP: ${local} to ${joinEndpoint(ip, port)} established in ${connectMs.toFixed(1)} ms`);
    if (tls) {
      stage = 'tls';
      using handshake = new Deadline(timeoutMs);
      const started = await startTls(socket, plan, handshake, tell);
      socket = started.socket;
      facts = { ...facts, tls: started.facts };
      if (started.facts.fault !== undefined) return { stage: 'done', local, ...facts };
    }
    if (httpPath === undefined) {
      if (size !== undefined) {
        stage = 'send';
        using sent = new Deadline(timeoutMs);
        await sendBytes(socket, portOf(local) ?? 0, size, sent);
        tell(`TCP: ${size} bytes sent and acknowledged`);
      }
      return { stage: 'done', local, ...facts };
    }
    stage = 'http';
    using request = new Deadline(timeoutMs);
    const { next, ...http } = await requestHttp(socket, { ...plan, path: httpPath }, request, tell);
    return { stage: 'done', local, ...facts, http, next };
  } catch (error) {
    const errno = errnoOf(error);
    const { attempted } = error as { attempted?: string };
    tell(failureText(stage, errno, timeoutMs));
    return { stage, errno, local: local ?? attempted, ...facts };
  } finally {
    socket?.destroy();
  }
}

function failureText(stage: Trial['stage'], errno: string, timeoutMs: number): string {
  const what = ['connect', 'send'].includes(stage) ? 'TCP' : stage.toUpperCase();
  if (errno !== 'ETIMEDOUT') return `${what}: ${errno}`;
  const lack = stage === 'send' ? 'not all data acknowledged' : 'nothing';
  return `${what}: ${lack} within ${timeoutMs / 1000} s`;
}

interface Ends {
  readonly ip: string;
  readonly port: number;
  readonly localIp: string | undefined;
  readonly localPort: number | undefined;
}

/**
 * Connects from a port that is chosen before, so that the events of the SYN can be told from those of earlier attempts.
 * @throws errors of the connection, with the address and port of the client as `attempted`
 */
async function open(
  { ip, port, localIp, localPort }: Ends,
  deadline: Deadline,
): Promise<{ readonly socket: Socket; readonly local: string }> {
  for (let turn = 1; ; turn++) {
    const own =
      localIp === undefined || turn > PORT_TRIES
        ? undefined
        : { localAddress: localIp, localPort: localPort ?? randomPort() };
    const socket = connect({ host: ip, port, ...own });
    try {
      await deadline.race(once(socket, 'connect'));
      return { socket, local: joinEndpoint(socket.localAddress ?? '', socket.localPort) };
    } catch (error) {
      socket.destroy();
      if (errnoOf(error) === 'EADDRINUSE' && own !== undefined && localPort === undefined) continue;
      const attempted = own && joinEndpoint(own.localAddress, own.localPort);
      throw Object.assign(error as Error, { attempted });
    }
  }
}

/** Returns a port of the range from which the kernel of this thread's namespace assigns ports. */
function randomPort(): number {
  const { first, last } = readPortRange(PROC);
  return first + Math.floor(Math.random() * (last - first + 1));
}

/** Sends data, and waits until the other end has acknowledged it. @throws if it has not in time */
async function sendBytes(socket: Socket, localPort: number, size: number, deadline: Deadline): Promise<void> {
  const failed = once(socket, 'error').then(([error]) => Promise.reject(error as Error));
  failed.catch(() => undefined);
  socket.resume();
  socket.write(Buffer.alloc(size));
  const isV6 = socket.remoteFamily === 'IPv6';
  while (socket.writableLength > 0 || queuedBytes(localPort, isV6) > 0) {
    await deadline.race(Promise.race([wait(ACKNOWLEDGED_EVERY_MS), failed]));
  }
}

/** Returns the number of bytes that a connection of this thread's namespace has not sent, or that are not acknowledged. */
function queuedBytes(localPort: number, isV6: boolean): number {
  const { messages } = netlinkDump(NETLINK.sockDiag, TCP_DIAG_REQUESTS[isV6 ? 'ipv6' : 'ipv4'], SOCKETS_BYTES_MAX);
  const rows = decodeInetDiag(messages, () => undefined) ?? [];
  const own = rows.filter(({ port, state }) => port === localPort && state !== tcpState.listen);
  return own.reduce((sum, { sendQueue }) => sum + sendQueue, 0);
}
