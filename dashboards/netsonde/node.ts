import { biolatency } from '#probes/biolatency.ts';
import { changes } from '#probes/changes/changes.ts';
import { conntrack } from '#probes/conntrack/conntrack.ts';
import { netdev } from '#probes/netdev/netdev.ts';
import { netiftxlatency } from '#probes/netiftxlatency.ts';
import { packetloss } from '#probes/packetloss/packetloss.ts';
import { qdisc } from '#probes/qdisc.ts';
import { rdma } from '#probes/rdma/rdma.ts';
import { sock } from '#probes/sock.ts';
import { softirq } from '#probes/softirq.ts';
import { softnet } from '#probes/softnet.ts';
import { tcpreset } from '#probes/tcpreset/tcpreset.ts';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import { virtcmdlatency } from '#probes/virtcmdlatency.ts';
import { dashboard } from './dashboard.ts';
import { toAgents, UIDS } from './links.ts';
import { ON_NODE as EVENTS_ON_NODE, ratesByType } from './logql.ts';
import { eventGraph, graph, series, table, tile, WIDTH } from './panels.ts';
import { probeSections } from './probe_panels.ts';
import { BY_ENTITY, frequency, gauge, increase, narrow, promql, quantile, rate, top } from './promql.ts';
import {
  BACKLOG_DROPS,
  backlogDrops,
  CONNTRACK,
  conntrackUse,
  countOf,
  isState,
  notablyRetransmitted,
  RETRANSMITTED,
  untracked,
} from './risks.ts';
import { VARIABLES } from './variables.ts';
import { IS_POD, OF_AGENT, OF_NODE, ON_NODE, ON_NODE_RANGE } from './views.ts';

/**
 * The dashboard *Node* shows causes that affect every Pod on a machine. The machine's own network namespace counts as
 * the node, including its hostNetwork Pods.
 */

const NO_DEVICE = 'No device of this kind.';
const NOT_MEASURED = 'Nothing was measured in this time.';
const PODS = narrow(ON_NODE_RANGE, IS_POD);

const tiles = [
  tile('Backlog overrun', backlogDrops(OF_NODE, []), {
    what: 'Received packets that the CPUs could not keep up with.',
    limits: [BACKLOG_DROPS.notice, BACKLOG_DROPS.alert],
  }),
  tile('Out of time', rate(softnet.metrics.timeSqueezed, OF_NODE, []), { limits: [10, 100] }),
  tile('Fullest conntrack', promql`max(${conntrackUse(ON_NODE, ON_NODE)})`, {
    what: 'The fullest table of the node and its Pods.',
    empty: 'Nothing is tracked.',
    limits: [CONNTRACK.notice, CONNTRACK.alert],
    events: ['conntrack_pressure'],
  }),
  tile('Not tracked', untracked(ON_NODE, []), {
    what: 'Connections that found no room in the table, and packets dropped because of it.',
    empty: 'Nothing is tracked.',
    limits: [0.001, 1],
    events: ['conntrack_pressure'],
  }),
  tile(
    'Dropped by devices',
    promql`${rate(netdev.metrics.receivedDrops, OF_NODE, [])} + ${rate(netdev.metrics.sentDrops, OF_NODE, [])}`,
    { limits: [1, 100] },
  ),
  tile('TCP memory', gauge('sum', sock.metrics.tcpMemory, OF_NODE, []), {
    what: 'Memory for all Pods: the kernel counts it for the machine. The limit is net.ipv4.tcp_mem.',
  }),
  tile('TCP orphans', gauge('sum', sock.metrics.orphans, OF_NODE, []), {
    what: 'Connections that no process holds any more. The limit is net.ipv4.tcp_max_orphans.',
    limits: [10_000, 50_000],
  }),
  tile('Failed probes', countOf(promql`${isState('failed', OF_AGENT, ['probe'])} == 1`, OF_AGENT), {
    what: 'The numbers of these probes are missing here.',
    limits: [1, 1],
    opens: toAgents,
  }),
];

const receiving = [
  graph('Received packets, by CPU', [series(rate(softnet.metrics.processed, OF_NODE, ['cpu']), 'CPU {{cpu}}')], {
    what: 'One CPU far above the others: the device has one queue, or RPS is off.',
  }),
  graph('Dropped or deferred, by CPU', [
    series(rate(softnet.metrics.dropped, OF_NODE, ['cpu']), 'CPU {{cpu}} dropped'),
    series(rate(softnet.metrics.timeSqueezed, OF_NODE, ['cpu']), 'CPU {{cpu}} out of time'),
    series(rate(softnet.metrics.flowLimitReached, OF_NODE, ['cpu']), 'CPU {{cpu}} flow limit'),
  ]),
  graph('Backlog', [series(gauge('max', softnet.metrics.backlog, OF_NODE, ['cpu']), 'CPU {{cpu}}')], {
    what: 'At net.core.netdev_max_backlog packets are dropped.',
  }),
  graph('Softirq: wait, 99 %', [series(quantile(0.99, softirq.metrics.wait, OF_NODE, ['vector']), '{{vector}}')], {
    what: 'A long wait of net_rx means that packets lie in the queue while something else runs.',
    empty: NOT_MEASURED,
    limits: [0.01],
    events: ['softirq_wait_slow'],
  }),
  graph('Softirq: run, 99 %', [series(quantile(0.99, softirq.metrics.run, OF_NODE, ['vector']), '{{vector}}')], {
    empty: NOT_MEASURED,
    limits: [0.01],
    events: ['softirq_run_slow'],
  }),
  eventGraph('Events on this node, by type', ratesByType(EVENTS_ON_NODE), {
    width: WIDTH.third,
    what: 'From Loki, without events that limits held back.',
  }),
];

const devices = [
  graph('Bytes, by device', [
    series(rate(netdev.metrics.receivedBytes, OF_NODE, ['device']), '{{device}} received'),
    series(rate(netdev.metrics.sentBytes, OF_NODE, ['device']), '{{device}} sent'),
  ]),
  graph('Dropped by devices and queues', [
    series(rate(netdev.metrics.receivedDrops, OF_NODE, ['device']), '{{device}} received'),
    series(rate(netdev.metrics.sentDrops, OF_NODE, ['device']), '{{device}} sent'),
    series(rate(qdisc.metrics.drops, OF_NODE, ['device', 'kind']), '{{device}} {{kind}}'),
  ]),
  graph(
    'Packets that the node itself lost, by reason',
    [series(rate(packetloss.metrics.drops, OF_NODE, ['reason']), '{{reason}}')],
    { stacked: true, empty: 'No packet was lost.', events: ['packet_drop'], eventsBy: 'reason' },
  ),
];

const changed = [
  graph(
    'Changes of devices',
    [series(promql`${increase(changes.metrics.links, OF_NODE, ['device', 'change'])} > 0`, '{{device}} {{change}}')],
    {
      what: 'Devices that come and go with Pods are counted by their kind.',
      empty: 'No device has changed.',
      events: ['link_changed'],
    },
  ),
  graph(
    'Changes of routes, addresses and rules',
    [
      series(increase(changes.metrics.routes, OF_NODE, ['family', 'change']), 'routes {{family}} {{change}}'),
      series(increase(changes.metrics.addresses, OF_NODE, []), 'addresses'),
      series(increase(changes.metrics.rules, OF_NODE, ['family', 'change']), 'rules {{family}} {{change}}'),
      series(increase(changes.metrics.rulesets, OF_NODE, []), 'nftables'),
    ],
    { events: ['route_changed', 'ruleset_changed'] },
  ),
  graph(
    'Neighbours',
    [
      series(rate(changes.metrics.neighbourFailures, OF_NODE, ['device']), '{{device}}: no answer'),
      series(rate(changes.metrics.neighbourOverflows, OF_NODE, ['family']), '{{family}}: table full'),
    ],
    {
      what: 'Failed resolutions, and entries that a full table refused: raise net.ipv4.neigh.default.gc_thresh3, or that of ipv6.',
      empty: 'No resolution has failed.',
      events: ['neighbour_failed', 'neighbour_table_full'],
    },
  ),
];

const tracking = [
  graph(
    'Connection tracking',
    [
      series(gauge('max', conntrack.metrics.entries, OF_NODE, []), 'node'),
      series(gauge('max', conntrack.metrics.entries, narrow(ON_NODE, IS_POD), []), 'fullest Pod'),
      series(gauge('max', conntrack.metrics.limit, OF_NODE, []), 'limit'),
    ],
    { empty: 'Nothing is tracked.', events: ['conntrack_pressure'] },
  ),
  graph(
    'Not tracked',
    [
      series(rate(conntrack.metrics.drop, ON_NODE, []), 'dropped'),
      series(rate(conntrack.metrics.earlyDrop, ON_NODE, []), 'given up early'),
      series(rate(conntrack.metrics.insertFailed, ON_NODE, []), 'could not be added'),
      series(rate(conntrack.metrics.invalid, ON_NODE, []), 'invalid'),
    ],
    { empty: 'Nothing is tracked.', events: ['conntrack_pressure'] },
  ),
  graph(
    'Resets of the node itself',
    [series(rate(tcpreset.metrics.resets, OF_NODE, ['direction', 'reason']), '{{direction}} {{reason}}')],
    {
      empty: 'No connection was reset.',
      events: ['tcp_reset'],
      eventsBy: 'reason',
    },
  ),
];

const pods = table(
  'Pods on this node',
  [
    { title: 'Lost', expression: top(20, increase(packetloss.metrics.drops, PODS, BY_ENTITY)), limits: [10, 1_000] },
    { title: 'Resets', expression: top(20, increase(tcpreset.metrics.resets, PODS, BY_ENTITY)), limits: [10, 1_000] },
    {
      title: 'Retransmitted',
      expression: top(20, notablyRetransmitted(PODS, BY_ENTITY)),
      limits: [RETRANSMITTED.notice, RETRANSMITTED.alert],
    },
    {
      title: 'Connections',
      expression: top(20, gauge('sum', tcpsummary.metrics.connections, PODS, BY_ENTITY, { state: ['established'] })),
    },
    { title: 'Received', expression: top(20, rate(netdev.metrics.receivedBytes, PODS, BY_ENTITY)) },
    { title: 'Sent', expression: top(20, rate(netdev.metrics.sentBytes, PODS, BY_ENTITY)) },
  ],
  { what: 'Over the whole time shown, the first 20 by each column. A click on a Pod opens it.', empty: 'No Pod.' },
);

const latency = [
  graph(
    'Block I/O: 99 %, by device',
    [series(quantile(0.99, biolatency.metrics.delay, ON_NODE, ['device', 'operation']), '{{device}} {{operation}}')],
    {
      width: WIDTH.half,
      what: 'Requests of the node and its Pods.',
      empty: NOT_MEASURED,
      limits: [0.01, 0.1],
      events: ['block_io_slow'],
    },
  ),
  graph(
    'Block I/O: requests, by device',
    [series(frequency(biolatency.metrics.delay, ON_NODE, ['device', 'operation']), '{{device}} {{operation}}')],
    { width: WIDTH.half, what: 'Requests of the node and its Pods.', empty: NOT_MEASURED },
  ),
  graph(
    'In the queues of devices and in drivers, 99 %',
    [
      series(quantile(0.99, netiftxlatency.metrics.qdisc, OF_NODE, []), 'in the queue'),
      series(quantile(0.99, netiftxlatency.metrics.driver, OF_NODE, []), 'in the driver'),
    ],
    { width: WIDTH.half, empty: NOT_MEASURED, limits: [0.01, 0.1], events: ['qdisc_slow', 'driver_transmit_slow'] },
  ),
  graph(
    'Control commands of virtio-net, 99 %',
    [series(quantile(0.99, virtcmdlatency.metrics.delay, ON_NODE, []), 'the hypervisor')],
    {
      width: WIDTH.half,
      what: 'Slow commands mean that the hypervisor is slow or busy.',
      empty: NOT_MEASURED,
      limits: [0.01, 0.1],
      events: ['virtio_command_slow'],
    },
  ),
];

const sockets = [
  graph(
    'Sockets',
    [
      series(gauge('sum', sock.metrics.allocated, OF_NODE, []), 'TCP allocated'),
      series(gauge('sum', sock.metrics.orphans, OF_NODE, []), 'TCP orphans'),
    ],
    { width: WIDTH.half },
  ),
  graph(
    'Memory of sockets',
    [
      series(gauge('sum', sock.metrics.tcpMemory, OF_NODE, []), 'TCP'),
      series(gauge('sum', sock.metrics.udpMemory, OF_NODE, []), 'UDP'),
    ],
    { width: WIDTH.half },
  ),
];

const rdmaPanels = [
  graph(
    'RDMA: bytes',
    [
      series(rate(rdma.metrics.receivedBytes, OF_NODE, ['device', 'port']), '{{device}}/{{port}} received'),
      series(rate(rdma.metrics.sentBytes, OF_NODE, ['device', 'port']), '{{device}}/{{port}} sent'),
    ],
    { width: WIDTH.half, empty: NO_DEVICE },
  ),
  graph(
    'RDMA: errors and congestion',
    [
      series(
        promql`${rate(rdma.metrics.counters, OF_NODE, ['device', 'port', 'counter'])} > 0`,
        '{{device}}/{{port}} {{counter}}',
      ),
    ],
    { width: WIDTH.half, empty: NO_DEVICE },
  ),
];

export const node = dashboard({
  uid: UIDS.node,
  title: 'Node',
  description:
    'Effects of the machine on all of its Pods: CPUs, devices, queues, connection tracking. Select one node; several are added up.',
  variables: [VARIABLES.datasource(), VARIABLES.loki(), VARIABLES.cluster(), VARIABLES.node()],
  sections: [
    { title: 'Now', panels: tiles },
    { title: 'Receiving', panels: receiving },
    { title: 'Devices', panels: devices },
    { title: 'Changes', panels: changed },
    { title: 'Connections', panels: tracking },
    { title: 'Pods', panels: [pods] },
    { title: 'Latency: probes that are off by default', folded: true, panels: latency },
    { title: 'Sockets', folded: true, panels: sockets },
    { title: 'RDMA', folded: true, panels: rdmaPanels },
    ...probeSections('node'),
  ],
});
