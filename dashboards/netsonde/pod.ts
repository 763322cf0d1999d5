import { biolatency } from '#probes/biolatency.ts';
import { conntrack } from '#probes/conntrack/conntrack.ts';
import { fd } from '#probes/fd.ts';
import { icmp } from '#probes/icmp.ts';
import { io } from '#probes/io/io.ts';
import { ip } from '#probes/ip.ts';
import { kernellatency } from '#probes/kernellatency.ts';
import { netdev } from '#probes/netdev/netdev.ts';
import { netiftxlatency } from '#probes/netiftxlatency.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { qdisc } from '#probes/qdisc.ts';
import { sock } from '#probes/sock.ts';
import { socketlatency } from '#probes/socketlatency.ts';
import { tcp } from '#probes/tcp.ts';
import { tcpext } from '#probes/tcpext/tcpext.ts';
import { tcpreset } from '#probes/tcpreset/tcpreset.ts';
import { tcpretrans } from '#probes/tcpretrans.ts';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import { udp } from '#probes/udp.ts';
import { dashboard } from './dashboard.ts';
import { toMap, UIDS } from './links.ts';
import { OF_POD as EVENTS_OF_POD, sentences } from './logql.ts';
import { eventLog, graph, series, tile, WIDTH } from './panels.ts';
import { probeSections } from './probe_panels.ts';
import { type Distribution, gauge, promql, quantile, rate, top } from './promql.ts';
import {
  CONNTRACK,
  conntrackUse,
  FAILED_CONNECTS,
  failedConnectShare,
  LOSS,
  listenOverflows,
  loss,
  RESETS,
  RETRANSMITTED,
  receiveDrops,
  resets,
  retransmitted,
} from './risks.ts';
import { podVariables } from './variables.ts';
import { OF_POD, ON_NODE } from './views.ts';

/** The dashboard *Pod* shows the selected Pods. Panels without a line per Pod add up all selected Pods. */

const BY_POD = ['namespace', 'pod'] as const;
const POD = '{{namespace}}/{{pod}}';
/** Maximum number of lines in a panel with one line per Pod. */
const MOST = 10;

const NO_SEGMENTS = 'No segment was sent.';
const NO_OPENS = 'No connection was opened.';

const tiles = [
  tile('Lost', loss(OF_POD, []), {
    limits: [LOSS.notice, LOSS.alert],
    empty: 'No packet was lost.',
    events: ['packet_drop'],
  }),
  tile('Retransmitted', retransmitted(OF_POD, []), {
    what: 'Share of the TCP segments, without those that had arrived (DSACK).',
    empty: NO_SEGMENTS,
    limits: [RETRANSMITTED.notice, RETRANSMITTED.alert],
    events: ['tcp_retransmit'],
  }),
  tile('Resets', resets(OF_POD, []), {
    what: 'Resets that cut something off, without those of an orderly end.',
    empty: 'No connection was reset.',
    limits: [RESETS.notice, RESETS.alert],
    events: ['tcp_reset'],
  }),
  tile('Failed to connect', failedConnectShare(OF_POD, []), {
    what: 'Share of the TCP connections opened from inside and from outside. A click opens the map.',
    empty: NO_OPENS,
    opens: toMap,
    limits: [FAILED_CONNECTS.notice, FAILED_CONNECTS.alert],
    events: ['tcp_reset'],
  }),
  tile('Accept queue full', listenOverflows(OF_POD, []), {
    what: 'The application accepts too slowly; its clients wait a second or more.',
    limits: [0.001, 1],
  }),
  tile('Dropped unread', receiveDrops(OF_POD, []), {
    what: 'Segments dropped because the application reads too slowly.',
    limits: [0.001, 1],
  }),
  tile('UDP dropped unread', rate(udp.metrics.receiveBufferErrors, OF_POD, []), {
    what: 'Look here when DNS times out.',
    limits: [0.001, 1],
    events: ['packet_drop'],
  }),
  tile('Conntrack', promql`max(${conntrackUse(OF_POD, ON_NODE)})`, {
    empty: 'Nothing is tracked.',
    limits: [CONNTRACK.notice, CONNTRACK.alert],
    events: ['conntrack_pressure'],
  }),
];

const harm = [
  graph('Packets lost, by reason', [series(rate(packetloss.metrics.drops, OF_POD, ['reason']), '{{reason}}')], {
    width: WIDTH.half,
    stacked: true,
    empty: 'No packet was lost.',
    events: ['packet_drop'],
    eventsBy: 'reason',
  }),
  graph(
    'Resets, by direction and reason',
    [series(rate(tcpreset.metrics.resets, OF_POD, ['direction', 'reason']), '{{direction}} {{reason}}')],
    { width: WIDTH.half, stacked: true, empty: 'No connection was reset.', events: ['tcp_reset'], eventsBy: 'reason' },
  ),
  graph('Retransmissions, by cause', [series(rate(tcpretrans.metrics.retransmits, OF_POD, ['kind']), '{{kind}}')], {
    width: WIDTH.half,
    what: 'rto and syn: no answer arrived at all. fast: single packets were lost. synack: the client does not answer. tlp: the acknowledgement is late, mostly without a loss. mtu: a link on the path takes only smaller packets.',
    stacked: true,
    empty: 'Nothing was retransmitted.',
    events: ['tcp_retransmit'],
    eventsBy: 'kind',
  }),
  graph('Freed without loss, by class', [series(rate(packetloss.metrics.discards, OF_POD, ['class']), '{{class}}')], {
    what: 'Packets that did their work or that nothing here waited for. unclassified: the rule cannot decide.',
    width: WIDTH.half,
    stacked: true,
    empty: 'No packet was discarded.',
  }),
  graph(
    'Needless retransmissions',
    [
      series(rate(tcp.metrics.retransmittedSegments, OF_POD, []), 'retransmitted'),
      series(rate(tcpext.metrics.dsackReceived, OF_POD, []), 'needless: had arrived (DSACK)'),
      series(rate(tcpext.metrics.lossProbeRecoveries, OF_POD, []), 'lost, and repaired by a loss probe'),
    ],
    { width: WIDTH.whole },
  ),
];

const connections = [
  graph('Connections opened and failed', [
    series(rate(tcp.metrics.activeOpens, OF_POD, []), 'opened from inside'),
    series(rate(tcp.metrics.passiveOpens, OF_POD, []), 'accepted from outside'),
    series(rate(tcp.metrics.attemptFails, OF_POD, []), 'failed'),
    series(rate(tcp.metrics.establishedResets, OF_POD, []), 'ended by a reset'),
  ]),
  graph(
    'Connections, by state',
    [series(promql`${gauge('sum', tcpsummary.metrics.connections, OF_POD, ['state'])} > 0`, '{{state}}')],
    {
      what: 'A growing close_wait means that the application does not close, and syn_sent that the server does not answer.',
      empty: 'No connection.',
    },
  ),
  graph(
    'Accept queues',
    [series(gauge('max', tcpsummary.metrics.acceptQueueFullest, OF_POD, ['port']), 'port {{port}}')],
    {
      what: 'Fill level of the fullest socket of each port, in the selected Pods. At 100 % it refuses connections; the event accept_queue_full reports that even between two scrapes.',
      empty: 'Nothing listens.',
    },
  ),
];

const application = [
  graph('Waiting to be read and to be sent', [
    series(gauge('sum', tcpsummary.metrics.receiveQueue, OF_POD, []), 'to be read by the application'),
    series(gauge('sum', tcpsummary.metrics.sendQueue, OF_POD, []), 'to be acknowledged by the other side'),
  ]),
  graph('Full queues', [
    series(rate(tcpext.metrics.listenOverflows, OF_POD, []), 'accept queue full'),
    series(rate(tcpext.metrics.listenDrops, OF_POD, []), 'connection requests dropped'),
    series(rate(tcpext.metrics.receiveQueueDrops, OF_POD, []), 'receive queue full'),
    series(rate(tcpext.metrics.backlogDrops, OF_POD, []), 'backlog full'),
    series(rate(udp.metrics.receiveBufferErrors, OF_POD, []), 'UDP receive buffer full'),
  ]),
  graph(
    'Unreachable',
    [
      series(rate(icmp.metrics.receivedDestinationUnreachable, OF_POD, []), 'destination unreachable received'),
      series(rate(udp.metrics.noPort, OF_POD, []), 'UDP to a port without a listener'),
      series(rate(ip.metrics.fragmentationFailures, OF_POD, []), 'too large for the path'),
    ],
    { what: 'Packets that are too large for the path mean that an MTU is wrong somewhere.', events: ['packet_drop'] },
  ),
];

const traffic = [
  graph('Bytes', [
    series(rate(netdev.metrics.receivedBytes, OF_POD, []), 'received'),
    series(rate(netdev.metrics.sentBytes, OF_POD, []), 'sent'),
  ]),
  graph('Packets', [
    series(rate(netdev.metrics.receivedPackets, OF_POD, []), 'received'),
    series(rate(netdev.metrics.sentPackets, OF_POD, []), 'sent'),
    series(rate(udp.metrics.received, OF_POD, []), 'UDP received'),
  ]),
  graph('Dropped by devices and queues', [
    series(rate(netdev.metrics.receivedDrops, OF_POD, ['device']), '{{device}} received'),
    series(rate(netdev.metrics.sentDrops, OF_POD, ['device']), '{{device}} sent'),
    series(rate(qdisc.metrics.drops, OF_POD, ['device', 'kind']), '{{device}} {{kind}}'),
  ]),
];

/** Returns queries for the 99th percentile of the Pods with the highest values, and for the median. */
function delays(metric: Distribution) {
  return [
    series(top(MOST, quantile(0.99, metric, OF_POD, BY_POD)), `${POD} 99 %`),
    series(quantile(0.5, metric, OF_POD, []), '50 %'),
  ];
}

function stages(metric: typeof kernellatency.metrics.receive | typeof kernellatency.metrics.send) {
  return [series(quantile(0.99, metric, OF_POD, ['stage']), '{{stage}} 99 %')];
}

const NO_WAIT = 'Nothing was measured in this time.';

const latency = [
  graph('Until the application reads', delays(socketlatency.metrics.read), {
    what: 'A long time means that the application is slow, not the network.',
    empty: NO_WAIT,
    limits: [0.1],
    events: ['socket_read_slow'],
  }),
  graph('From write to device', delays(socketlatency.metrics.write), {
    what: 'A long time means that the window of the other end is closed, or the congestion window small.',
    empty: NO_WAIT,
    limits: [0.1],
    events: ['socket_write_slow'],
  }),
  graph('In the IP layer, on the way in', stages(kernellatency.metrics.receive), {
    what: 'Netfilter, routing, reassembly, and TCP or UDP themselves.',
    empty: NO_WAIT,
    limits: [0.01],
    events: ['kernel_receive_slow'],
  }),
  graph('In the IP layer, on the way out', stages(kernellatency.metrics.send), {
    what: 'Netfilter, routing, and the search for the neighbour.',
    empty: NO_WAIT,
    limits: [0.01],
    events: ['kernel_send_slow'],
  }),
  graph('In the queue of the device', delays(netiftxlatency.metrics.qdisc), {
    empty: NO_WAIT,
    limits: [0.1],
    events: ['qdisc_slow'],
  }),
  graph('In the driver', delays(netiftxlatency.metrics.driver), {
    empty: NO_WAIT,
    limits: [0.1],
    events: ['driver_transmit_slow'],
  }),
  graph('Block I/O', delays(biolatency.metrics.delay), {
    width: WIDTH.half,
    what: 'A process that waits for its disk does not read its sockets.',
    empty: NO_WAIT,
    limits: [0.1],
    events: ['block_io_slow'],
  }),
  graph(
    'Reads from and writes to storage',
    [
      series(rate(io.metrics.readBytes, OF_POD, []), 'read'),
      series(rate(io.metrics.writtenBytes, OF_POD, []), 'written'),
    ],
    { width: WIDTH.half },
  ),
];

const limits = [
  graph('Sockets', [series(top(MOST, gauge('sum', sock.metrics.used, OF_POD, BY_POD)), POD)]),
  graph(
    'File descriptors, of their limit',
    [series(top(MOST, gauge('max', fd.metrics.limitUsed, OF_POD, BY_POD)), POD)],
    {
      limits: [0.8, 0.95],
      max: 1,
    },
  ),
  graph(
    'Connection tracking',
    [
      series(top(MOST, gauge('sum', conntrack.metrics.entries, OF_POD, BY_POD)), `${POD} entries`),
      series(gauge('max', conntrack.metrics.limit, ON_NODE, []), 'limit'),
    ],
    { empty: 'Nothing is tracked.', events: ['conntrack_pressure'] },
  ),
];

const detail = [
  graph('Timeouts and repairs', [
    series(rate(tcpext.metrics.timeouts, OF_POD, []), 'timeouts'),
    series(rate(tcpext.metrics.synRetransmits, OF_POD, []), 'SYN again'),
    series(rate(tcpext.metrics.fastRetransmits, OF_POD, []), 'fast retransmits'),
    series(rate(tcpext.metrics.lossProbes, OF_POD, []), 'loss probes'),
    series(rate(tcpext.metrics.spuriousRtos, OF_POD, []), 'needless timeouts'),
  ]),
  graph('Aborted, by cause', [series(rate(tcpext.metrics.aborts, OF_POD, ['cause']), '{{cause}}')], {
    what: 'data: closed with unread data. timeout: the other end is gone. memory: too many orphans.',
  }),
  graph('Closed windows', [
    series(rate(tcpext.metrics.toZeroWindow, OF_POD, []), 'closed: the application reads too slowly'),
    series(rate(tcpext.metrics.windowProbes, OF_POD, []), 'the other side reads too slowly'),
    series(rate(tcpext.metrics.zeroWindowDrops, OF_POD, []), 'dropped: window closed'),
  ]),
];

export const pod = dashboard({
  uid: UIDS.pod,
  title: 'Pod',
  description: 'Effects of the network on a Pod, and of the Pod on itself.',
  related: ['map', 'flows'],
  variables: podVariables(),
  sections: [
    { title: 'Now', panels: tiles },
    { title: 'Lost, reset, retransmitted', panels: harm },
    { title: 'Connections', panels: connections },
    { title: 'Slow application, unreachable peers', panels: application },
    { title: 'Events', panels: [eventLog('Events', sentences(EVENTS_OF_POD), { width: WIDTH.whole })] },
    { title: 'Traffic', folded: true, panels: traffic },
    { title: 'Latency: probes that are off by default', folded: true, panels: latency },
    { title: 'Limits', folded: true, panels: limits },
    { title: 'More TCP metrics, with detail: full', folded: true, panels: detail },
    ...probeSections('pod'),
  ],
});
