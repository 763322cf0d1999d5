import { isClosed, type MetricDescriptor } from '#probe/metric.ts';
import { type Equivalent, RDMA_DRIVERS } from './entry.ts';
import { KUBESKOOP } from './names.ts';
import { keptLabels, type Rule, rulesOf } from './rules.ts';

/**
 * Generates promtool's test of the recording rules. For each metric, the test contains series of a Pod and of the node
 * with labels that a rule selects, rejects and adds up. All values are different.
 */

type Labels = Readonly<Record<string, string>>;

interface Series {
  readonly labels: Labels;
  readonly value: number;
}

const TARGET = { instance: '10.0.0.1:9102', node: 'worker-1' };
const POD = { namespace: 'shop', pod: 'cart-0' };
const NODE = { namespace: '', pod: '' };
const OTHER = 'other';

/** Returns values of a label that show whether the rules select and sum correctly. */
function valuesFor(label: string, equivalents: readonly Equivalent[], descriptor?: MetricDescriptor): string[] {
  const named = equivalents.flatMap(({ only, without, rdma }) => [
    ...(only?.[label] ?? []),
    ...(without?.[label] === undefined ? [] : [without[label]]),
    ...(label === 'device' && rdma !== undefined ? RDMA_DRIVERS.map((driver) => `${driver}_0`) : []),
  ]);
  const declared = descriptor?.labels[label];
  const others = declared === undefined || !isClosed(declared) ? [declared?.example ?? OTHER, OTHER] : declared.values;
  const free = others.filter((value) => !named.includes(value));
  return [...new Set([...named, ...free.slice(0, 2)])];
}

function combinations(values: ReadonlyMap<string, readonly string[]>): Labels[] {
  let all: Labels[] = [{}];
  for (const [label, list] of values)
    all = all.flatMap((labels) => list.map((value) => ({ ...labels, [label]: value })));
  return all;
}

function seriesFor(equivalents: readonly Equivalent[], descriptor?: MetricDescriptor): Series[] {
  const names = new Set([
    ...equivalents.flatMap(({ only = {}, without = {} }) => [...Object.keys(only), ...Object.keys(without)]),
    ...equivalents.flatMap(({ rdma }) => (rdma === undefined ? [] : ['device', ...(rdma.perPort ? ['port'] : [])])),
    ...Object.keys(descriptor?.labels ?? {}),
  ]);
  const values = new Map([...names].map((name) => [name, valuesFor(name, equivalents, descriptor)]));
  const entities = descriptor?.scope === 'node' ? [NODE] : [POD, NODE];
  return entities
    .flatMap((entity) => combinations(values).map((labels) => ({ ...TARGET, ...entity, ...labels })))
    .map((labels, index) => ({ labels, value: (index + 1) ** 2 }));
}

function counts(labels: Labels, { only = {}, without = {}, rdma }: Equivalent): boolean {
  return (
    Object.entries(only).every(([label, values]) => values.includes(labels[label] ?? '')) &&
    Object.entries(without).every(([label, value]) => labels[label] !== value) &&
    (rdma?.driver === undefined || (labels['device'] ?? '').startsWith(`${rdma.driver}_`))
  );
}

/** Returns KubeSkoop's labels for a netsonde series, sorted by name and without empty labels. */
function expectedLabels(labels: Labels, equivalent: Equivalent): string {
  const { device = '' } = labels;
  const known: Labels = {
    ...labels,
    k8s_node: TARGET.node,
    k8s_namespace: labels['namespace'] ?? '',
    k8s_pod: labels['pod'] ?? '',
    type: RDMA_DRIVERS.find((driver) => device.startsWith(`${driver}_`)) ?? 'unknown',
  };
  const kept = keptLabels(equivalent).filter((label) => (known[label] ?? '') !== '');
  return render(Object.fromEntries(kept.sort().map((label) => [label, known[label] ?? ''])));
}

function render(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return `{${pairs.join(',')}}`;
}

function expectedSamples({ equivalent }: Rule, series: readonly Series[]): Map<string, number> {
  const sums = new Map<string, number>();
  for (const { labels, value } of series.filter((one) => counts(one.labels, equivalent))) {
    const key = expectedLabels(labels, equivalent);
    sums.set(key, (sums.get(key) ?? 0) + value);
  }
  const [operation, factor] = equivalent.scale ?? ['*', 1];
  return new Map([...sums].map(([key, sum]) => [key, operation === '*' ? sum * factor : sum / factor]));
}

function renderExpectation({ name }: Rule, samples: ReadonlyMap<string, number>): string[] {
  return [
    `      - expr: ${name}`,
    '        eval_time: 0s',
    '        exp_samples:',
    ...[...samples].map(([labels, value]) => `          - { labels: '${name}${labels}', value: ${value} }`),
  ];
}

/**
 * @param descriptors all metric descriptors; if a metric has no descriptor, only the labels that rules use are known
 */
export function rulesTestFile(ruleFile: string, descriptors: readonly MetricDescriptor[]): string {
  const rules = KUBESKOOP.flatMap(rulesOf);
  const byMetric = Map.groupBy(rules, ({ equivalent }) => equivalent.metric);
  const series = new Map(
    [...byMetric].map(([metric, users]) => [
      metric,
      seriesFor(
        users.map(({ equivalent }) => equivalent),
        descriptors.find(({ name }) => name === metric),
      ),
    ]),
  );
  const inputs = [...series].flatMap(([metric, list]) =>
    list.map(({ labels, value }) => `      - { series: '${metric}${render(labels)}', values: '${value}' }`),
  );
  return [
    `rule_files: [${ruleFile}]`,
    'tests:',
    '  - interval: 15s',
    '    input_series:',
    ...inputs,
    '    promql_expr_test:',
    ...rules.flatMap((rule) =>
      renderExpectation(rule, expectedSamples(rule, series.get(rule.equivalent.metric) ?? [])),
    ),
    '',
  ].join('\n');
}
