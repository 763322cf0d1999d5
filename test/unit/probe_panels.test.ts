import { describe, expect, it } from 'vitest';
import { defineProbe } from '#probe/contract.ts';
import { defineEvents } from '#probe/event.ts';
import { defineMetrics } from '#probe/metric.ts';
import type { ProbePanel } from '#probe/panel.ts';
import { probeSections } from '../../dashboards/netsonde/probe_panels.ts';

const described = { help: 'A number.', source: 'the test', scope: 'pod', detail: 'core' } as const;
const family = { help: 'IP version.', values: ['ipv4', 'ipv6'] } as const;

const metrics = defineMetrics({
  opened: { ...described, name: 'netsonde_opened_total', type: 'counter', labels: { family } },
  open: { ...described, name: 'netsonde_open', type: 'gauge', labels: {} },
  wait: { ...described, name: 'netsonde_wait_seconds', type: 'histogram', unit: 'seconds', labels: {}, buckets: [1] },
});
const events = defineEvents({
  packet_drop: { help: 'Something happened.', severity: 'info', equalBy: [], fields: {} },
});

const LINES = [{ metric: 'open', show: 'max', by: [] }] as const;

function probeWith(panels: readonly ProbePanel<typeof metrics, typeof events>[]) {
  return defineProbe({
    name: 'seen',
    kind: 'procfs',
    cost: 'low',
    enabledByDefault: true,
    summary: '',
    guide: { question: '', when: '', query: '', limits: [''] },
    metrics,
    events,
    options: {},
    requires: { capabilities: [], kernel: '' },
    measured: {},
    panels,
    open: async () => ({ health: () => ({ reader: '', degraded: [] }) }),
  });
}

describe('probeSections', () => {
  const probe = probeWith([
    {
      on: 'pod',
      title: 'All',
      lines: [
        { metric: 'opened', show: 'rate', by: ['family', 'pod'] },
        { metric: 'open', show: 'max', by: [], legend: 'open' },
        { metric: 'wait', show: 'p99', by: [] },
      ],
      events: ['packet_drop'],
    },
    { on: 'node', title: 'Node itself', lines: LINES },
  ]);

  it('gives a section to the probe on each dashboard on which it shows something', () => {
    for (const [on, title] of [
      ['pod', 'All'],
      ['node', 'Node itself'],
    ] as const) {
      const [section, ...others] = probeSections(on, [probe, probeWith([])]);
      expect(others).toEqual([]);
      expect(section).toMatchObject({ title: 'Probe seen', folded: true });
      expect(section?.panels.map((panel) => panel.build().title)).toEqual([title]);
    }
  });

  it('shows the rate of a counter, a gauge as it is and the slowest hundredth of a histogram', () => {
    const [panel] = probeSections('pod', [probe]).flatMap(({ panels }) => panels.map((one) => one.build()));
    const targets = (panel?.targets ?? []) as unknown as { expr: string; legendFormat: string }[];
    expect(targets.map(({ expr }) => expr.replaceAll(/\{cluster.*?""\}/g, ''))).toEqual([
      'sum by (family, pod) (rate(netsonde_opened_total[$__rate_interval]))',
      'max (netsonde_open)',
      'histogram_quantile(0.99, sum by (le) (rate(netsonde_wait_seconds_bucket[$__rate_interval])))',
    ]);
    expect(targets.map(({ legendFormat }) => legendFormat)).toEqual(['{{family}} {{pod}}', 'open', 'wait']);
    expect(panel?.links?.map(({ title }) => title)).toEqual(['Events: packet_drop']);
  });

  it.each([
    [1, [24]],
    [2, [12, 12]],
    [3, [8, 8, 8]],
    [4, [8, 8, 8, 24]],
    [5, [8, 8, 8, 12, 12]],
  ])('fills each line of the dashboard: %i panels', (count, widths) => {
    const panels = Array.from({ length: count }, () => ({ on: 'pod', title: 'One', lines: LINES }) as const);
    const built = probeSections('pod', [probeWith(panels)]).flatMap((section) => section.panels);
    expect(built.map((panel) => panel.build().gridPos?.w)).toEqual(widths);
  });
});
