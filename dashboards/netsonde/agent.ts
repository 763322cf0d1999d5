import { SELF_METRICS } from '#collectors/self.ts';
import { AGENT_METRICS } from '#http/agent_metrics.ts';
import { dashboard } from './dashboard.ts';
import { AGENT_JOB, CPU_SECONDS, RESIDENT_MEMORY, UP } from './foreign.ts';
import { UIDS } from './links.ts';
import { graph, HEIGHT, series, table, tile, WIDTH } from './panels.ts';
import { as, BY_NODE, gauge, increase, narrow, promql, quantile, rate, top } from './promql.ts';
import { countOf, isState } from './risks.ts';
import { VARIABLES } from './variables.ts';
import { OF_AGENT } from './views.ts';

/** The dashboard *Agent* shows whether the numbers on the other dashboards are complete, and what the agents cost. */

const BY_PROBE = [...BY_NODE, 'probe'] as const;
const OF_RANGE = { ...OF_AGENT, window: '$__range' };
const OF_PROCESS = narrow(OF_AGENT, AGENT_JOB);
const THIRD = { width: WIDTH.third };
const SIXTH = { width: WIDTH.sixth };
const QUARTER = { width: WIDTH.quarter };

const down = as('short', promql`count(${gauge('min', UP, OF_PROCESS, ['cluster', 'instance'])} == 0)`);

const tiles = [
  tile('Agents', as('short', gauge('count', AGENT_METRICS.buildInfo, OF_AGENT, [])), SIXTH),
  tile('Down', promql`${down} or 0 * ${gauge('max', UP, OF_PROCESS, [])}`, {
    ...SIXTH,
    what: 'Agents that Prometheus cannot scrape. Its job has `netsonde` in its name.',
    empty: 'No job has netsonde in its name.',
    limits: [1, 5],
  }),
  tile('Probes failed', countOf(promql`${isState('failed', OF_AGENT, BY_PROBE)} == 1`, OF_AGENT), {
    ...SIXTH,
    limits: [1, 5],
  }),
  tile('Probes degraded', countOf(promql`${isState('degraded', OF_AGENT, BY_PROBE)} == 1`, OF_AGENT), {
    ...SIXTH,
    what: 'Degraded probes see less than they could: usually a property of the machine, not a fault.',
  }),
  tile(
    'Configuration refused',
    countOf(promql`${gauge('min', AGENT_METRICS.configSuccessful, OF_AGENT, BY_NODE)} == 0`, OF_AGENT),
    { ...SIXTH, what: 'Agents that continue with the configuration before the last.', limits: [1, 1] },
  ),
  tile(
    'Sinks failed',
    countOf(
      promql`${gauge('max', AGENT_METRICS.sinkState, OF_AGENT, [...BY_NODE, 'sink'], { state: ['failed'] })} == 1`,
      OF_AGENT,
    ),
    { ...SIXTH, what: 'Events wait for a failed sink, and are lost when its queue is full.', limits: [1, 5] },
  ),
  tile(
    'Without Kubernetes',
    countOf(promql`${gauge('min', AGENT_METRICS.connected, OF_AGENT, BY_NODE)} == 0`, OF_AGENT),
    {
      ...QUARTER,
      what: 'Agents whose Kubernetes API does not answer: new Pods are shown by their UID.',
      limits: [1, 5],
    },
  ),
  tile('Oldest page', gauge('max', AGENT_METRICS.pageAge, OF_AGENT, []), {
    ...QUARTER,
    what: 'An agent that is stuck shows old numbers.',
    limits: [30, 120],
  }),
  tile('Events lost', rate(AGENT_METRICS.dropped, OF_AGENT, []), {
    ...QUARTER,
    what: 'Events lost between the kernel and the sinks.',
    empty: 'No event was lost.',
    limits: [0.001, 10],
  }),
  tile('Events limited', rate(AGENT_METRICS.limited, OF_AGENT, []), {
    ...QUARTER,
    what: 'Events held back by the limit of a network namespace. The metrics still count them.',
    empty: 'No event was held back.',
  }),
];

const NOT_RUNNING = ['failed', 'degraded', 'unsupported'] as const;

const states = [
  table(
    'Probes that do not run as they should',
    [
      {
        title: 'Nodes',
        expression: promql`${gauge('sum', SELF_METRICS.probeState, OF_AGENT, ['probe', 'state'], { state: NOT_RUNNING })} > 0`,
      },
    ],
    {
      ...THIRD,
      what: 'Number of nodes. The reason is on /api/v1/probes of an agent, and in its log.',
      empty: 'All probes run.',
    },
  ),
  table(
    'Probes that have failed, by node',
    [{ title: 'Failed', expression: promql`${isState('failed', OF_AGENT, BY_PROBE)} == 1`, hidden: true }],
    { ...THIRD, empty: 'No probe has failed.' },
  ),
  graph(
    'Failed collections, by probe',
    [series(promql`${rate(SELF_METRICS.collectFailures, OF_AGENT, ['probe'])} > 0`, '{{probe}}')],
    { ...THIRD, height: HEIGHT.table, empty: 'No collection failed.' },
  ),
];

/** Maximum number of lines in a panel that would otherwise have one line per node. */
const MOST = 10;

const cost = [
  graph('CPU, of one core', [series(top(MOST, rate(CPU_SECONDS, OF_PROCESS, BY_NODE)), '{{node}}')], THIRD),
  graph('Memory', [series(top(MOST, gauge('max', RESIDENT_MEMORY, OF_PROCESS, BY_NODE)), '{{node}}')], THIRD),
  graph(
    'A whole page, 99 %',
    [series(top(MOST, quantile(0.99, SELF_METRICS.scrapeSeconds, OF_AGENT, BY_NODE)), '{{node}}')],
    { ...THIRD, limits: [0.25, 1] },
  ),
  graph(
    'Collecting, 99 %, by probe',
    [series(top(MOST, quantile(0.99, SELF_METRICS.collectSeconds, OF_AGENT, ['probe'])), '{{probe}}')],
    THIRD,
  ),
  graph(
    'BPF programs: CPU, of one core, by probe',
    [series(promql`${rate(SELF_METRICS.runSeconds, OF_AGENT, ['probe'])} > 0`, '{{probe}}')],
    {
      ...THIRD,
      empty:
        'Measured only while the configuration has `bpfStats: true` or a budget, or kernel.bpf_stats_enabled is 1.',
    },
  ),
  graph('Largest BPF maps', [series(top(MOST, gauge('sum', SELF_METRICS.mapBytes, OF_AGENT, ['map'])), '{{map}}')], {
    ...THIRD,
    what: 'Kernel memory, summed over the selected nodes.',
  }),
];

const { produced, limited, delivered, dropped, pending } = AGENT_METRICS;

const ledger = [
  graph(
    'Events produced, limited and folded, by probe',
    [
      series(rate(produced, OF_AGENT, ['probe']), '{{probe}} produced'),
      series(promql`${rate(limited, OF_AGENT, ['probe', 'stage'])} > 0`, '{{probe}} limited ({{stage}})'),
      series(promql`${rate(AGENT_METRICS.folded, OF_AGENT, ['probe'])} > 0`, '{{probe}} folded'),
    ],
    THIRD,
  ),
  graph(
    'Delivered and lost, by sink',
    [
      series(rate(delivered, OF_AGENT, ['sink']), '{{sink}} delivered'),
      series(
        promql`${rate(dropped, OF_AGENT, ['sink', 'stage', 'reason'])} > 0`,
        '{{sink}} lost: {{reason}} ({{stage}})',
      ),
    ],
    { ...THIRD, empty: 'No event happened.' },
  ),
  graph('Waiting, by sink', [series(gauge('sum', pending, OF_AGENT, ['sink']), '{{sink}}')], {
    ...THIRD,
    what: 'The number grows while a sink accepts no events.',
  }),
];

const COUNTED = 'Nothing was left out.';

const completeness = [
  graph(
    'Not counted by BPF programs',
    [
      series(promql`${rate(SELF_METRICS.missed, OF_AGENT, ['probe'])} > 0`, '{{probe}} missed'),
      series(promql`${rate(SELF_METRICS.uncounted, OF_AGENT, ['probe', 'cause'])} > 0`, '{{probe}} {{cause}}'),
    ],
    { ...THIRD, empty: COUNTED },
  ),
  graph(
    'Left out or collapsed',
    [
      series(
        promql`${rate(SELF_METRICS.overflow, OF_AGENT, ['metric', 'label'])} > 0`,
        '{{metric}} by {{label}}: in *',
      ),
      series(promql`${rate(SELF_METRICS.seriesFolded, OF_AGENT, ['what'])} > 0`, '{{what}}: in * by limits.series'),
      series(promql`${rate(SELF_METRICS.unattributed, OF_AGENT, ['probe'])} > 0`, '{{probe}}: namespace unknown'),
      series(
        promql`${rate(SELF_METRICS.sourceErrors, OF_AGENT, ['source', 'path'])} > 0`,
        '{{source}} {{path}}: not readable',
      ),
    ],
    { ...THIRD, empty: COUNTED },
  ),
  graph(
    'Entities, by kind',
    [
      series(promql`${gauge('sum', SELF_METRICS.entities, OF_AGENT, ['kind'])} > 0`, '{{kind}}'),
      series(gauge('sum', SELF_METRICS.unreadable, OF_AGENT, []), 'processes not readable'),
      series(gauge('sum', SELF_METRICS.unowned, OF_AGENT, []), 'namespaces ignored'),
    ],
    THIRD,
  ),
];

const faults = table(
  'Agents that restarted or refused',
  [
    {
      title: 'Kernel thread replaced',
      expression: promql`${increase(AGENT_METRICS.restarts, OF_RANGE, BY_NODE)} > 0`,
      limits: [1, 10],
    },
    {
      title: 'Threads stuck',
      expression: promql`${gauge('max', AGENT_METRICS.stuck, OF_AGENT, BY_NODE)} > 0`,
      limits: [1, 1],
    },
    {
      title: 'Configuration in force',
      expression: promql`${gauge('max', AGENT_METRICS.configGeneration, OF_AGENT, BY_NODE)} and ${gauge('min', AGENT_METRICS.configSuccessful, OF_AGENT, BY_NODE)} == 0`,
    },
  ],
  { empty: 'None.' },
);

export const agent = dashboard({
  uid: UIDS.agent,
  title: 'Agent',
  description: 'Completeness of the numbers, path of the events, and cost of the agents.',
  variables: [VARIABLES.datasource(), VARIABLES.loki(), VARIABLES.cluster(), VARIABLES.node()],
  sections: [
    { title: 'Now', panels: tiles },
    { title: 'Probes', panels: states },
    { title: 'Path of the events', panels: ledger },
    { title: 'Completeness', panels: completeness },
    { title: 'Cost', panels: cost },
    { title: 'Faults', folded: true, panels: [faults] },
  ],
});
