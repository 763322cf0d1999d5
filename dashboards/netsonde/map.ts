import { dashboard } from './dashboard.ts';
import { edgeTable, nodeGraph } from './edge_panels.ts';
import { MAP_EDGE } from './edge_rules.ts';
import { bytesOf, OF_NAMESPACES, rateOf } from './edges.ts';
import { UIDS } from './links.ts';
import { graph, series, WIDTH } from './panels.ts';
import { top } from './promql.ts';
import { VARIABLES } from './variables.ts';

/** The dashboard *Map* shows the workloads of the selected namespaces with their peers. */

/** Maximum number of lines in a panel. */
const MOST = 10;
const LINE = '{{source_namespace}}/{{source}} → {{target_namespace}}/{{target}}';
const RULES = 'This needs the recording rules of netsonde.';
const NO_CONNECTION = `No TCP connection. ${RULES}`;
const EDGE = `An edge stands for all TCP connections of a workload with the same peer, whichever port they have. It is shown if it had traffic within five minutes (labels: \`${MAP_EDGE.join('`, `')}\`).`;

const picture = [
  nodeGraph('Workloads and their connections', OF_NAMESPACES, {
    what: `Arrows point from clients to servers. Dashed red lines: connections fail, segments are lost, or nothing responds. Dotted orange lines: worth a look. Losses need \`detail: full\` of the probe \`flow\`. A ring shows the share of a workload's edges that are in trouble. ${EDGE}`,
    empty: NO_CONNECTION,
  }),
];

const edges = [
  edgeTable('Edges', OF_NAMESPACES, {
    what: `Rates of the last five minutes. The 50 edges with the highest values of each column. ${EDGE}`,
    empty: NO_CONNECTION,
  }),
];

const rates = [
  graph('Bytes in both directions', [series(top(MOST, bytesOf(OF_NAMESPACES)), LINE)], {
    width: WIDTH.half,
    empty: NO_CONNECTION,
  }),
  graph('Connections opened', [series(top(MOST, rateOf('edge_connections', OF_NAMESPACES)), LINE)], {
    width: WIDTH.half,
    empty: NO_CONNECTION,
  }),
  graph(
    'Failed connections, by cause',
    [series(top(MOST, rateOf('edge_failed_connections', OF_NAMESPACES, ['cause'])), `${LINE} {{cause}}`)],
    { width: WIDTH.half, empty: `No connection failed. ${RULES}`, events: ['connection_failed'] },
  ),
  graph('Retransmitted segments', [series(top(MOST, rateOf('edge_retransmitted_segments', OF_NAMESPACES)), LINE)], {
    width: WIDTH.half,
    what: 'Sum over both ends.',
    empty: `Nothing was retransmitted. ${RULES}`,
    events: ['connection_degraded', 'tcp_retransmit'],
  }),
];

export const map = dashboard({
  uid: UIDS.map,
  title: 'Map',
  description: 'TCP connections between workloads, and where the trouble is.',
  related: ['flows', 'pod'],
  variables: [VARIABLES.datasource(), VARIABLES.loki(), VARIABLES.cluster(), VARIABLES.namespaceOfCluster()],
  sections: [
    { title: 'Map', panels: picture },
    { title: 'Edges', panels: edges },
    { title: 'Over time', panels: rates },
  ],
});
