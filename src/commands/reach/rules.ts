import { BpfError, NetlinkSubscription, netlinkDump, withNetns } from 'bpf-napi';
import { joinEndpoint } from '#core/address.ts';
import { NETLINK } from '#sources/netlink/message.ts';
import { decodeLog, encodeLogGroup, type MetRule } from '#sources/netlink/packet_log.ts';
import {
  type DroppingRule,
  decodeRules,
  decodeTrace,
  encodeRules,
  encodeTraceTable,
  TRACE_GROUP,
  type TracedConnection,
} from '#sources/netlink/rule_trace.ts';
import { pathOf } from '../capture/place.ts';
import { TraceLogger } from './trace_logger.ts';

const QUEUE_BYTES = 4 * 1024 ** 2;
const DATAGRAM_BYTES = 64 * 1024;
/** The whole queue fits in this number of reads. */
const READS_MAX = QUEUE_BYTES / DATAGRAM_BYTES;
const RULES_BYTES = 64 * 1024 ** 2;
const DROPS_MAX = 64;
/** Function in which the rules of iptables-legacy drop packets, and before Linux 6.9 those of nftables as well. */
const LEGACY_PLACE = /^nf_hook_slow\b/;

export interface Tracing extends TracedConnection {
  /** ID of the network namespace in which the packets are dropped. */
  readonly netns: bigint;
  /** Whether the client sends the packets that are dropped, and not the server. */
  readonly isOfClient: boolean;
  /** Function of the kernel that drops them. */
  readonly symbol: string;
}

/**
 * Names the rule that drops the packets of a connection. While `again` connects once more, a table of nftables traces
 * these packets. The table belongs to a socket, with which the kernel removes it, even if this process is killed.
 * @returns the rule, or undefined if no rule has dropped a packet
 * @throws if the namespace cannot be entered, or the table cannot be created; the message says why
 */
export async function findRule(tracing: Tracing, again: () => Promise<unknown>): Promise<string | undefined> {
  const { netns, ip, port, isOfClient } = tracing;
  const path = await pathOf(netns);
  if (path === undefined) throw new Error('the network namespace in which the packets are dropped is not visible here');
  const drops: DroppingRule[] = [];
  let met: MetRule | undefined;
  const failures: number[] = [];
  const told = {
    answered: (errno: number) => void (errno === 0 || failures.push(errno)),
    dropped: (rule: DroppingRule) => void (drops.length < DROPS_MAX && drops.push(rule)),
  };
  // The last rule that a packet meets is the one that drops it.
  const meet = (rule: MetRule) => {
    if ((rule.source === joinEndpoint(ip, port)) === isOfClient) met = rule;
  };
  using trace = withNetns(
    path,
    () =>
      new NetlinkSubscription({
        protocol: NETLINK.netfilter,
        groups: [TRACE_GROUP],
        queueBytes: QUEUE_BYTES,
        bufferBytes: 2 * DATAGRAM_BYTES,
        datagramBytesMax: DATAGRAM_BYTES,
        onBatch: ({ messages }) => {
          decodeTrace(messages, told);
          decodeLog(messages, meet);
        },
        onError: () => undefined,
      }),
  );
  /** The kernel has carried out a request when the call returns, and its answers are in the queue. */
  const request = (bytes: Uint8Array, refusal: string) => {
    trace.send(bytes);
    trace.receive();
    const [errno] = failures;
    if (errno !== undefined) throw new Error(`${refusal} (errno ${errno})`);
  };
  const table = encodeTraceTable(`netsonde-reach-${process.pid}`, tracing);
  request(table, 'the kernel refuses the table, for which CAP_NET_ADMIN is needed');
  if (LEGACY_PLACE.test(tracing.symbol)) {
    request(
      encodeLogGroup(),
      'iptables-legacy cannot be traced: group 0 of NFLOG is in use, or nfnetlink_log is missing',
    );
    using _ = new TraceLogger(path, netns, ip);
    await again();
  } else await again();
  // Other packets may be logged all the time, so the number of reads is limited.
  for (let reads = 0; reads < READS_MAX && !trace.receive(); reads++);
  const [rule] = drops;
  if (rule !== undefined) return describe(rule, path);
  return met && describeLegacy(met, ip);
}

function describeLegacy({ table, chain, kind, position }: MetRule, ip: string): string {
  const place = `chain ${chain} of table ${table} (${ip.includes(':') ? 'ip6tables' : 'iptables'}-legacy)`;
  return kind === 'rule' ? `rule ${position} of ${place}` : `the policy of ${place}`;
}

function describe(rule: DroppingRule, path: string): string {
  const { family, table, chain, handle } = rule;
  const place = `chain ${chain} of table ${family} ${table}`;
  if (handle === undefined) return `the policy of ${place}`;
  const found = placeOf(rule, path);
  const position = found === undefined ? '' : ` ${found.position}`;
  const comment = found?.comment === undefined ? '' : `, comment "${found.comment}"`;
  return `rule${position} (handle ${handle}${comment}) of ${place}`;
}

function placeOf(rule: DroppingRule, path: string) {
  try {
    const { messages } = withNetns(path, () => netlinkDump(NETLINK.netfilter, encodeRules(rule), RULES_BYTES));
    return decodeRules(messages, rule);
  } catch (error) {
    // The chain may have been removed meanwhile.
    if (error instanceof BpfError) return undefined;
    throw error;
  }
}
