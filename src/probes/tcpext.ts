import * as z from 'zod';
import { readText } from '../sources/procfs/read.ts';
import { parseSnmp } from '../sources/procfs/snmp.ts';
import type { Sources } from '../sources/sources.ts';
import { defineMetrics, type MetricDescriptor, NO_LABELS } from './metric.ts';
import { type MibField, runMibFields } from './mib_fields.ts';
import { defineProbe } from './probe.ts';

// Namespaced: yes. Every struct net has its own linux_mib (kernel: net/ipv4/proc.c, netstat_seq_show()).

const counter = { type: 'counter', scope: 'pod', labels: {} } as const;

/** What `fields: all` shows beside the named metrics: every kernel has some 130 fields. */
const FIELDS_MAX = 256;

const metrics = defineMetrics({
  listenDrops: {
    ...counter,
    name: 'netsonde_tcp_listen_drops_total',
    help: 'Connection requests that a listening socket dropped, for whatever reason.',
    source: 'net/netstat TcpExt.ListenDrops',
    detail: 'core',
  },
  listenOverflows: {
    ...counter,
    name: 'netsonde_tcp_listen_overflows_total',
    help: 'Connections dropped because the accept queue of the listening socket was full: the application accepts too slowly.',
    source: 'net/netstat TcpExt.ListenOverflows',
    detail: 'core',
  },
  requestQueueDrops: {
    ...counter,
    name: 'netsonde_tcp_request_queue_full_drops_total',
    help: 'Connection requests dropped because the SYN queue was full and SYN cookies are off.',
    source: 'net/netstat TcpExt.TCPReqQFullDrop',
    detail: 'full',
  },
  requestQueueCookies: {
    ...counter,
    name: 'netsonde_tcp_request_queue_full_cookies_total',
    help: 'Connection requests answered with a SYN cookie because the SYN queue was full.',
    source: 'net/netstat TcpExt.TCPReqQFullDoCookies',
    detail: 'full',
  },
  syncookiesSent: {
    ...counter,
    name: 'netsonde_tcp_syncookies_sent_total',
    help: 'SYN cookies sent.',
    source: 'net/netstat TcpExt.SyncookiesSent',
    detail: 'full',
  },
  syncookiesReceived: {
    ...counter,
    name: 'netsonde_tcp_syncookies_received_total',
    help: 'Valid SYN cookies that came back.',
    source: 'net/netstat TcpExt.SyncookiesRecv',
    detail: 'full',
  },
  syncookiesFailed: {
    ...counter,
    name: 'netsonde_tcp_syncookies_failed_total',
    help: 'Segments that should have held a valid SYN cookie and did not.',
    source: 'net/netstat TcpExt.SyncookiesFailed',
    detail: 'full',
  },
  embryonicResets: {
    ...counter,
    name: 'netsonde_tcp_embryonic_resets_total',
    help: 'Resets received for connections that were not established yet.',
    source: 'net/netstat TcpExt.EmbryonicRsts',
    detail: 'full',
  },
  deferAcceptDrops: {
    ...counter,
    name: 'netsonde_tcp_defer_accept_drops_total',
    help: 'Acknowledgements of a handshake dropped because TCP_DEFER_ACCEPT waits for data.',
    source: 'net/netstat TcpExt.TCPDeferAcceptDrop',
    detail: 'full',
  },
  timeouts: {
    ...counter,
    name: 'netsonde_tcp_timeouts_total',
    help: 'Retransmission timeouts: nothing came back for a whole RTO.',
    source: 'net/netstat TcpExt.TCPTimeouts',
    detail: 'full',
  },
  synRetransmits: {
    ...counter,
    name: 'netsonde_tcp_syn_retransmits_total',
    help: 'SYN and SYN-ACK segments retransmitted: the other side does not answer, or answers do not arrive.',
    source: 'net/netstat TcpExt.TCPSynRetrans',
    detail: 'full',
  },
  fastRetransmits: {
    ...counter,
    name: 'netsonde_tcp_fast_retransmits_total',
    help: 'Segments retransmitted after duplicate acknowledgements.',
    source: 'net/netstat TcpExt.TCPFastRetrans',
    detail: 'full',
  },
  slowStartRetransmits: {
    ...counter,
    name: 'netsonde_tcp_slow_start_retransmits_total',
    help: 'Segments retransmitted in slow start.',
    source: 'net/netstat TcpExt.TCPSlowStartRetrans',
    detail: 'full',
  },
  lostRetransmits: {
    ...counter,
    name: 'netsonde_tcp_lost_retransmits_total',
    help: 'Retransmitted segments that were lost again.',
    source: 'net/netstat TcpExt.TCPLostRetransmit',
    detail: 'full',
  },
  retransmitFailures: {
    ...counter,
    name: 'netsonde_tcp_retransmit_failures_total',
    help: 'Retransmissions that could not be sent.',
    source: 'net/netstat TcpExt.TCPRetransFail',
    detail: 'full',
  },
  lossProbes: {
    ...counter,
    name: 'netsonde_tcp_loss_probes_total',
    help: 'Tail loss probes sent.',
    source: 'net/netstat TcpExt.TCPLossProbes',
    detail: 'full',
  },
  lossProbeRecoveries: {
    ...counter,
    name: 'netsonde_tcp_loss_probe_recoveries_total',
    help: 'Losses that a tail loss probe repaired.',
    source: 'net/netstat TcpExt.TCPLossProbeRecovery',
    detail: 'full',
  },
  spuriousRtos: {
    ...counter,
    name: 'netsonde_tcp_spurious_timeouts_total',
    help: 'Retransmission timeouts that turned out to be unnecessary.',
    source: 'net/netstat TcpExt.TCPSpuriousRTOs',
    detail: 'full',
  },
  spuriousHostQueues: {
    ...counter,
    name: 'netsonde_tcp_spurious_retransmits_host_queues_total',
    help: 'Retransmissions held back because the original was still queued on this host.',
    source: 'net/netstat TcpExt.TCPSpuriousRtxHostQueues',
    detail: 'full',
  },
  sackRecoveries: {
    ...counter,
    name: 'netsonde_tcp_sack_recoveries_total',
    help: 'Times that SACK started a recovery from loss.',
    source: 'net/netstat TcpExt.TCPSackRecovery',
    detail: 'full',
  },
  sackRecoveryFailures: {
    ...counter,
    name: 'netsonde_tcp_sack_recovery_failures_total',
    help: 'Recoveries by SACK that ended in a retransmission timeout.',
    source: 'net/netstat TcpExt.TCPSackRecoveryFail',
    detail: 'full',
  },
  sackReneging: {
    ...counter,
    name: 'netsonde_tcp_sack_renegings_total',
    help: 'Times that a receiver threw away data it had acknowledged selectively.',
    source: 'net/netstat TcpExt.TCPSACKReneging',
    detail: 'full',
  },
  sackReorders: {
    ...counter,
    name: 'netsonde_tcp_sack_reorders_total',
    help: 'Times that SACK showed segments out of order.',
    source: 'net/netstat TcpExt.TCPSACKReorder',
    detail: 'full',
  },
  sackDiscards: {
    ...counter,
    name: 'netsonde_tcp_sack_discards_total',
    help: 'SACK blocks ignored as invalid.',
    source: 'net/netstat TcpExt.TCPSACKDiscard',
    detail: 'full',
  },
  dsackReceived: {
    ...counter,
    name: 'netsonde_tcp_dsacks_received_total',
    help: 'DSACKs received: the other side got data twice.',
    source: 'net/netstat TcpExt.TCPDSACKRecv',
    detail: 'full',
  },
  dsackOfoReceived: {
    ...counter,
    name: 'netsonde_tcp_dsacks_out_of_order_received_total',
    help: 'DSACKs received for data out of order.',
    source: 'net/netstat TcpExt.TCPDSACKOfoRecv',
    detail: 'full',
  },
  dsackOldSent: {
    ...counter,
    name: 'netsonde_tcp_dsacks_old_sent_total',
    help: 'DSACKs sent for old data received twice.',
    source: 'net/netstat TcpExt.TCPDSACKOldSent',
    detail: 'full',
  },
  dsackOfoSent: {
    ...counter,
    name: 'netsonde_tcp_dsacks_out_of_order_sent_total',
    help: 'DSACKs sent for data out of order received twice.',
    source: 'net/netstat TcpExt.TCPDSACKOfoSent',
    detail: 'full',
  },
  dsackUndo: {
    ...counter,
    name: 'netsonde_tcp_dsack_undos_total',
    help: 'Congestion windows restored because a DSACK proved the loss wrong.',
    source: 'net/netstat TcpExt.TCPDSACKUndo',
    detail: 'full',
  },
  ofoQueued: {
    ...counter,
    name: 'netsonde_tcp_out_of_order_queued_total',
    help: 'Segments received out of order and queued.',
    source: 'net/netstat TcpExt.TCPOFOQueue',
    detail: 'full',
  },
  ofoDrops: {
    ...counter,
    name: 'netsonde_tcp_out_of_order_drops_total',
    help: 'Segments received out of order and dropped because the receive buffer was full.',
    source: 'net/netstat TcpExt.TCPOFODrop',
    detail: 'full',
  },
  ofoPruned: {
    ...counter,
    name: 'netsonde_tcp_out_of_order_pruned_total',
    help: 'Times that the out-of-order queue was dropped for lack of memory.',
    source: 'net/netstat TcpExt.OfoPruned',
    detail: 'full',
  },
  receiveQueueDrops: {
    ...counter,
    name: 'netsonde_tcp_receive_queue_drops_total',
    help: 'Segments dropped because the receive queue of the socket was full.',
    source: 'net/netstat TcpExt.TCPRcvQDrop',
    detail: 'core',
  },
  receivePruned: {
    ...counter,
    name: 'netsonde_tcp_receive_queue_pruned_total',
    help: 'Times that received data was dropped for lack of memory.',
    source: 'net/netstat TcpExt.RcvPruned',
    detail: 'full',
  },
  pruneCalled: {
    ...counter,
    name: 'netsonde_tcp_receive_queue_prunes_total',
    help: 'Times that the receive queue was compacted because the buffer was over its limit.',
    source: 'net/netstat TcpExt.PruneCalled',
    detail: 'full',
  },
  backlogDrops: {
    ...counter,
    name: 'netsonde_tcp_backlog_drops_total',
    help: 'Segments dropped because the backlog of a busy socket was full.',
    source: 'net/netstat TcpExt.TCPBacklogDrop',
    detail: 'core',
  },
  zeroWindowDrops: {
    ...counter,
    name: 'netsonde_tcp_zero_window_drops_total',
    help: 'Segments dropped because the receive window was closed.',
    source: 'net/netstat TcpExt.TCPZeroWindowDrop',
    detail: 'full',
  },
  pfmemallocDrops: {
    ...counter,
    name: 'netsonde_tcp_pfmemalloc_drops_total',
    help: 'Packets dropped because only emergency memory was left.',
    source: 'net/netstat TcpExt.PFMemallocDrop',
    detail: 'full',
  },
  minTtlDrops: {
    ...counter,
    name: 'netsonde_tcp_min_ttl_drops_total',
    help: 'Segments dropped because their TTL was below IP_MINTTL.',
    source: 'net/netstat TcpExt.TCPMinTTLDrop',
    detail: 'full',
  },
  writeQueueTooBig: {
    ...counter,
    name: 'netsonde_tcp_write_queue_too_big_total',
    help: "Sends refused because the write queue would grow beyond the socket's limit.",
    source: 'net/netstat TcpExt.TCPWqueueTooBig',
    detail: 'full',
  },
  toZeroWindow: {
    ...counter,
    name: 'netsonde_tcp_zero_window_advertised_total',
    help: 'Times that the receive window was closed: the application reads too slowly.',
    source: 'net/netstat TcpExt.TCPToZeroWindowAdv',
    detail: 'full',
  },
  fromZeroWindow: {
    ...counter,
    name: 'netsonde_tcp_zero_window_reopened_total',
    help: 'Times that a closed receive window was opened again.',
    source: 'net/netstat TcpExt.TCPFromZeroWindowAdv',
    detail: 'full',
  },
  wantZeroWindow: {
    ...counter,
    name: 'netsonde_tcp_zero_window_wanted_total',
    help: 'Times that the receive window should have been closed but could not be shrunk.',
    source: 'net/netstat TcpExt.TCPWantZeroWindowAdv',
    detail: 'full',
  },
  windowProbes: {
    ...counter,
    name: 'netsonde_tcp_window_probes_total',
    help: 'Probes sent to a receiver whose window is closed.',
    source: 'net/netstat TcpExt.TCPWinProbe',
    detail: 'full',
  },
  memoryPressures: {
    ...counter,
    name: 'netsonde_tcp_memory_pressures_total',
    help: 'Times that TCP came under memory pressure.',
    source: 'net/netstat TcpExt.TCPMemoryPressures',
    detail: 'full',
  },
  pawsActive: {
    ...counter,
    name: 'netsonde_tcp_paws_active_rejects_total',
    help: 'Segments rejected by their timestamp in SYN-SENT state.',
    source: 'net/netstat TcpExt.PAWSActive',
    detail: 'full',
  },
  pawsEstablished: {
    ...counter,
    name: 'netsonde_tcp_paws_established_rejects_total',
    help: 'Segments rejected by their timestamp in established connections.',
    source: 'net/netstat TcpExt.PAWSEstab',
    detail: 'full',
  },
  pawsOldAck: {
    ...counter,
    name: 'netsonde_tcp_paws_old_ack_rejects_total',
    help: 'Old acknowledgements rejected by their timestamp.',
    source: 'net/netstat TcpExt.PAWSOldAck',
    detail: 'full',
  },
  pawsTimewait: {
    ...counter,
    name: 'netsonde_tcp_paws_timewait_rejects_total',
    help: 'Segments rejected by their timestamp in TIME-WAIT state.',
    source: 'net/netstat TcpExt.PAWSTimewait',
    detail: 'full',
  },
  challengeAcks: {
    ...counter,
    name: 'netsonde_tcp_challenge_acks_total',
    help: 'Challenge acknowledgements sent for suspicious segments.',
    source: 'net/netstat TcpExt.TCPChallengeACK',
    detail: 'full',
  },
  synChallenges: {
    ...counter,
    name: 'netsonde_tcp_syn_challenges_total',
    help: 'Challenge acknowledgements sent for a SYN in an established connection.',
    source: 'net/netstat TcpExt.TCPSYNChallenge',
    detail: 'full',
  },
  fastOpenActive: {
    ...counter,
    name: 'netsonde_tcp_fast_open_active_total',
    help: 'Connections opened from inside with TCP Fast Open.',
    source: 'net/netstat TcpExt.TCPFastOpenActive',
    detail: 'full',
  },
  fastOpenActiveFails: {
    ...counter,
    name: 'netsonde_tcp_fast_open_active_failures_total',
    help: 'TCP Fast Open from inside that failed.',
    source: 'net/netstat TcpExt.TCPFastOpenActiveFail',
    detail: 'full',
  },
  fastOpenPassive: {
    ...counter,
    name: 'netsonde_tcp_fast_open_passive_total',
    help: 'Connections accepted with TCP Fast Open.',
    source: 'net/netstat TcpExt.TCPFastOpenPassive',
    detail: 'full',
  },
  fastOpenPassiveFails: {
    ...counter,
    name: 'netsonde_tcp_fast_open_passive_failures_total',
    help: 'TCP Fast Open from outside that failed.',
    source: 'net/netstat TcpExt.TCPFastOpenPassiveFail',
    detail: 'full',
  },
  fastOpenOverflows: {
    ...counter,
    name: 'netsonde_tcp_fast_open_listen_overflows_total',
    help: 'TCP Fast Open requests beyond the limit of the listening socket.',
    source: 'net/netstat TcpExt.TCPFastOpenListenOverflow',
    detail: 'full',
  },
  fastOpenCookies: {
    ...counter,
    name: 'netsonde_tcp_fast_open_cookie_requests_total',
    help: 'TCP Fast Open cookies that were asked for.',
    source: 'net/netstat TcpExt.TCPFastOpenCookieReqd',
    detail: 'full',
  },
  fastOpenBlackholes: {
    ...counter,
    name: 'netsonde_tcp_fast_open_blackholes_total',
    help: 'Times that TCP Fast Open was switched off because the path seems to drop it.',
    source: 'net/netstat TcpExt.TCPFastOpenBlackhole',
    detail: 'full',
  },
  keepalives: {
    ...counter,
    name: 'netsonde_tcp_keepalives_total',
    help: 'Keepalive probes sent.',
    source: 'net/netstat TcpExt.TCPKeepAlive',
    detail: 'full',
  },
  mtuProbeFails: {
    ...counter,
    name: 'netsonde_tcp_mtu_probe_failures_total',
    help: 'Path MTU probes that were lost.',
    source: 'net/netstat TcpExt.TCPMTUPFail',
    detail: 'full',
  },
  mtuProbeSuccesses: {
    ...counter,
    name: 'netsonde_tcp_mtu_probe_successes_total',
    help: 'Path MTU probes that arrived.',
    source: 'net/netstat TcpExt.TCPMTUPSuccess',
    detail: 'full',
  },
  delivered: {
    ...counter,
    name: 'netsonde_tcp_delivered_segments_total',
    help: 'Segments that the other side acknowledged.',
    source: 'net/netstat TcpExt.TCPDelivered',
    detail: 'full',
  },
  deliveredCe: {
    ...counter,
    name: 'netsonde_tcp_delivered_ce_segments_total',
    help: 'Acknowledged segments that a router had marked for congestion (ECN).',
    source: 'net/netstat TcpExt.TCPDeliveredCE',
    detail: 'full',
  },
  originalDataSent: {
    ...counter,
    name: 'netsonde_tcp_original_data_segments_total',
    help: 'Segments with new data sent, retransmissions not counted.',
    source: 'net/netstat TcpExt.TCPOrigDataSent',
    detail: 'full',
  },
  outOfWindowIcmps: {
    ...counter,
    name: 'netsonde_tcp_out_of_window_icmps_total',
    help: 'ICMP errors ignored because they quote a sequence number outside the window.',
    source: 'net/netstat TcpExt.OutOfWindowIcmps',
    detail: 'full',
  },
  reversePathFilter: {
    ...counter,
    name: 'netsonde_tcp_reverse_path_filter_drops_total',
    help: 'Packets dropped by the reverse path filter.',
    source: 'net/netstat TcpExt.IPReversePathFilter',
    detail: 'full',
  },
  timeWait: {
    ...counter,
    name: 'netsonde_tcp_time_wait_sockets_total',
    help: 'Sockets that went through TIME-WAIT and timed out.',
    source: 'net/netstat TcpExt.TW',
    detail: 'full',
  },
  timeWaitOverflows: {
    ...counter,
    name: 'netsonde_tcp_time_wait_overflows_total',
    help: 'TIME-WAIT sockets not kept because tcp_max_tw_buckets was reached.',
    source: 'net/netstat TcpExt.TCPTimeWaitOverflow',
    detail: 'full',
  },
  timeoutRehash: {
    ...counter,
    name: 'netsonde_tcp_timeout_rehashes_total',
    help: 'Times that a timeout made the sender choose another path (flow label).',
    source: 'net/netstat TcpExt.TcpTimeoutRehash',
    detail: 'full',
  },
  memoryPressureSeconds: {
    ...counter,
    name: 'netsonde_tcp_memory_pressure_seconds_total',
    unit: 'seconds',
    help: 'Time that TCP spent under memory pressure.',
    source: 'net/netstat TcpExt.TCPMemoryPressuresChrono, milliseconds',
    detail: 'full',
  },
  aborts: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcp_aborts_total',
    help: 'Connections that were given up, by cause.',
    source: 'net/netstat TcpExt.TCPAbort*',
    detail: 'full',
    labels: {
      cause: {
        help: 'close: unread data at close; data: new data after close; failed: no memory for the reset; linger: orphaned after its linger time; memory: too many orphans; timeout: no answer.',
        values: ['close', 'data', 'failed', 'linger', 'memory', 'timeout'],
      },
    },
  },
  acksSkipped: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcp_acks_skipped_total',
    help: 'Acknowledgements not sent because of their rate limit, by what caused them.',
    source: 'net/netstat TcpExt.TCPACKSkipped*',
    detail: 'full',
    labels: {
      cause: {
        help: 'State of the connection, or the check that the received segment failed.',
        values: ['syn_recv', 'paws', 'seq', 'fin_wait2', 'time_wait', 'challenge'],
      },
    },
  },
  fields: {
    type: 'counter',
    scope: 'pod',
    name: 'netsonde_tcpext_fields_total',
    help: 'Every other field of TcpExt under its kernel name, with `fields: all`.',
    source: 'net/netstat TcpExt.*',
    detail: 'core',
    labels: {
      field: { help: 'Name of the field in net/netstat.', example: 'TCPAutoCorking', max: FIELDS_MAX },
    },
  },
});

const ABORTS: Readonly<Record<string, string>> = {
  close: 'TCPAbortOnClose',
  data: 'TCPAbortOnData',
  failed: 'TCPAbortFailed',
  linger: 'TCPAbortOnLinger',
  memory: 'TCPAbortOnMemory',
  timeout: 'TCPAbortOnTimeout',
};

const SKIPPED: Readonly<Record<string, string>> = {
  syn_recv: 'TCPACKSkippedSynRecv',
  paws: 'TCPACKSkippedPAWS',
  seq: 'TCPACKSkippedSeq',
  fin_wait2: 'TCPACKSkippedFinWait2',
  time_wait: 'TCPACKSkippedTimeWait',
  challenge: 'TCPACKSkippedChallenge',
};

const MILLISECOND_SECONDS = 1e-3;

function fieldOf({ source }: MetricDescriptor): string {
  return source.replace(/^.*TcpExt\./, '').replace(/,.*$/, '');
}

const plain = (metric: string, field: string): MibField => ({ metric, table: 'TcpExt', field, labels: NO_LABELS });

const byCause = (metric: string, fields: Readonly<Record<string, string>>): MibField[] =>
  Object.entries(fields).map(([cause, field]) => ({ metric, table: 'TcpExt', field, labels: { cause } }));

/** Fields with a metric of their own. */
const NAMED: readonly MibField[] = [
  ...Object.entries(metrics)
    .filter(([key]) => !['aborts', 'acksSkipped', 'fields', 'memoryPressureSeconds'].includes(key))
    .map(([key, metric]) => plain(key, fieldOf(metric))),
  {
    ...plain('memoryPressureSeconds', fieldOf(metrics.memoryPressureSeconds)),
    convert: (milliseconds) => Number(milliseconds) * MILLISECOND_SECONDS,
  },
  ...byCause('aborts', ABORTS),
  ...byCause('acksSkipped', SKIPPED),
];

/** The rest of what this kernel has. */
function otherFields({ paths, errors }: Sources): MibField[] {
  const text = readText(`${paths.proc}/self/net/netstat`) ?? '';
  const table = parseSnmp(text, errors.garbled('procfs', 'net/netstat')).get('TcpExt') ?? new Map();
  const named = new Set(NAMED.map(({ field }) => field));
  return [...table.keys()]
    .filter((field) => !named.has(field))
    .map((field) => ({ metric: 'fields', table: 'TcpExt', field, labels: { field } }));
}

export const tcpext = defineProbe({
  name: 'tcpext',
  kind: 'procfs',
  cost: 'low',
  enabledByDefault: true,
  summary:
    'The finer counters of TCP: full queues, timeouts, retransmissions by cause, aborts, zero windows. Always worth having.',
  metrics,
  events: {},
  options: {
    fields: z
      .enum(['named', 'all'])
      .default('named')
      .describe('`all` adds every other field of this kernel as netsonde_tcpext_fields_total, some 60 series a Pod.'),
  },
  requires: {
    capabilities: ['CAP_BPF', 'CAP_PERFMON'],
    kernel: 'Any. With BTF and since 5.19 one pass in the kernel reads all namespaces; else /proc/<pid>/net/netstat.',
  },
  open: (scope, sources, { options }) =>
    runMibFields(scope, sources, options.fields === 'all' ? [...NAMED, ...otherFields(sources)] : NAMED),
});
