import { tcpState } from '#bpf/generated/common.ts';
import { addCounters, type Counter, notNegative } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetlinkClient, NetlinkQuestion } from '../netlink/client.ts';
import { decodeInetDiag, type InetDiagRow, TCP_DIAG_REQUESTS } from '../netlink/inet_diag.ts';
import { NETLINK } from '../netlink/message.ts';
import type { NetnsEntry, NetnsIndex } from '../netns.ts';
import { parseSockstat } from '../procfs/sockstat.ts';
import {
  type AcceptQueue,
  byFullness,
  fullness,
  hasQueues,
  NO_SOCKETS,
  type TcpSnapshot,
  type TcpSummary,
} from './snapshot.ts';

const QUESTIONS = { ipv4: question(TCP_DIAG_REQUESTS.ipv4), ipv6: question(TCP_DIAG_REQUESTS.ipv6) } as const;

function question(request: Uint8Array): NetlinkQuestion<InetDiagRow[] | undefined> {
  return { protocol: NETLINK.sockDiag, what: 'tcp', request, decode: decodeInetDiag };
}

const NO_BACKLOG = { length: 0, limit: 0 } as const;

/**
 * Adds up the TCP sockets of each namespace with SOCK_DIAG, which every kernel supports. For each request, the kernel
 * walks the machine's whole hash table, which takes 0.2 ms even if it finds nothing. Therefore, namespaces that have no
 * sockets according to sockstat are skipped.
 */
export class TcpDiag {
  readonly #netns: NetnsIndex;
  readonly #files: NetFiles;
  readonly #netlink: NetlinkClient;

  constructor(netns: NetnsIndex, files: NetFiles, netlink: NetlinkClient) {
    this.#netns = netns;
    this.#files = files;
    this.#netlink = netlink;
  }

  async read(cycle: Cycle): Promise<TcpSnapshot> {
    const summaries = new Map<NetnsId, TcpSummary>();
    for (const entry of this.#netns.snapshot()) {
      const summary = this.#summarize(entry, cycle);
      if (summary !== undefined) summaries.set(entry.id, summary);
      await cycle.pause();
    }
    return { summary: (id) => summaries.get(id) };
  }

  #summarize(entry: NetnsEntry, cycle: Cycle): TcpSummary | undefined {
    const stat = this.#files.parse(entry, 'net/sockstat', cycle, parseSockstat);
    const inUse = stat?.get('TCP')?.get('inuse');
    const timeWait = stat?.get('TCP')?.get('tw');
    if (inUse === undefined || timeWait === undefined) return undefined;
    const stat6 = this.#files.parse(entry, 'net/sockstat6', cycle, parseSockstat);
    // The number of TIME_WAIT sockets in sockstat includes both address families.
    const ask = (what: NetlinkQuestion<InetDiagRow[] | undefined>, count: Counter) =>
      notNegative(count) > 0 || notNegative(timeWait) > 0 ? this.#netlink.ask(entry, what, cycle) : [];
    const rows = ask(QUESTIONS.ipv4, inUse);
    const rows6 = ask(QUESTIONS.ipv6, stat6?.get('TCP6')?.get('inuse') ?? 0);
    if (rows === undefined || rows6 === undefined) return undefined;
    return summarize([...rows, ...rows6]);
  }
}

/** Returns the totals of the sockets of a namespace. Sockets in an unknown state are not counted. */
export function summarize(rows: readonly InetDiagRow[]): TcpSummary {
  const sockets = [...NO_SOCKETS.sockets];
  const acceptQueues = new Map<number, AcceptQueue>();
  let receiveQueue: Counter = 0;
  let sendQueue: Counter = 0;
  let largestReceiveQueue = 0;
  let largestSendQueue = 0;
  for (const row of rows) {
    const { state, port } = row;
    if (state < sockets.length) sockets[state] = (sockets[state] ?? 0) + 1;
    if (state === tcpState.listen) {
      const own = { length: row.receiveQueue, limit: row.sendQueue };
      const { length, limit, fullest } = acceptQueues.get(port) ?? { length: 0, limit: 0, fullest: NO_BACKLOG };
      acceptQueues.set(port, {
        port,
        length: length + own.length,
        limit: addCounters(limit, own.limit),
        fullest: fullness(own) > fullness(fullest) ? own : fullest,
      });
    } else if (hasQueues(state)) {
      // The kernel computes queue lengths from sequence numbers. If the socket changes during the computation, the
      // result may be negative.
      const received = Math.max(0, row.receiveQueue | 0);
      const sent = Math.max(0, row.sendQueue | 0);
      receiveQueue = addCounters(receiveQueue, received);
      sendQueue = addCounters(sendQueue, sent);
      largestReceiveQueue = Math.max(largestReceiveQueue, received);
      largestSendQueue = Math.max(largestSendQueue, sent);
    }
  }
  return {
    sockets,
    receiveQueue,
    sendQueue,
    largestReceiveQueue,
    largestSendQueue,
    acceptQueues: [...acceptQueues.values()].sort(byFullness),
  };
}
