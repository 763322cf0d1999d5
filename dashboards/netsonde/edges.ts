import { type EdgeMetric, edgeRate, edgeTrouble, MAP_EDGE, TROUBLES } from './edge_rules.ts';
import { as, type Expression, joinLabels, promql } from './promql.ts';
import { CLUSTER } from './views.ts';

/** Queries about the edges of the map. */

/** Matchers of the edges that are selected by either end. */
export type Scope = readonly [source: readonly string[], target: readonly string[]];

function eitherEnd(matchers: (end: 'source' | 'target') => readonly string[]): Scope {
  return [
    [CLUSTER, ...matchers('source')],
    [CLUSTER, ...matchers('target')],
  ];
}

export const OF_NAMESPACES = eitherEnd((end) => [`${end}_namespace=~"$namespace"`]);
export const OF_WORKLOADS = eitherEnd((end) => [`${end}_namespace=~"$namespace"`, `${end}=~"$workload"`]);

const within = ([source, target]: Scope, one: (matchers: readonly string[]) => Expression): Expression =>
  promql`(${one(source)} or ${one(target)})`;

/** Returns a text that replaces the one of an expression. */
const rewrite = (expression: Expression, text: string): Expression => ({ ...expression, text });

/** Returns rates of edges. With `cause`, failed connections have one value for each cause. */
export function rateOf(name: EdgeMetric, scope: Scope, by: readonly 'cause'[] = []): Expression {
  return sumOf(
    within(scope, (matchers) => edgeRate(name, matchers)),
    by,
  );
}

function sumOf(expression: Expression, by: readonly 'cause'[] = []): Expression {
  return rewrite(expression, `sum by (${[...MAP_EDGE, ...by].join(', ')}) ${expression.text}`);
}

/** Returns the bytes per second of both directions. */
export const bytesOf = (scope: Scope): Expression =>
  promql`(${rateOf('edge_sent_bytes', scope)} + ${rateOf('edge_received_bytes', scope)})`;

/** Returns the failed share of the connection attempts; no value if there were none. */
export function failedShareOf(scope: Scope): Expression {
  const opened = rateOf('edge_connections', scope);
  const failed = promql`(${rateOf('edge_failed_connections', scope)} or 0 * ${opened})`;
  return as('percentunit', promql`${failed} / ((${failed} + ${opened}) > 0)`);
}

export const troubleOf = (scope: Scope): Expression => sumOf(within(scope, edgeTrouble));

/** Pixels of a line that carries up to 1 kB/s, and that each power of ten adds. */
const [THIN, WIDER] = [1, 1.15];
const kilobytes = (scope: Scope) => as('kB/s', promql`${bytesOf(scope)} / 1000`);
/** Returns the width of a line in pixels, as on the page's map. */
const thickness = (scope: Scope) => promql`${THIN} + ${WIDER} * clamp_min(log10(${kilobytes(scope)}), 0)`;

/** Colours and dashes of lines by their trouble, so that the trouble shows without colours. */
export const LINES = [
  { trouble: TROUBLES.none, color: '#8e8e8e', dashes: '' },
  { trouble: TROUBLES.notice, color: '#ff9830', dashes: '3 3' },
  { trouble: TROUBLES.bad, color: '#f2495c', dashes: '10 4' },
] as const;

/** Returns an expression with the colour and the dashes of the line of each edge as labels. */
function coloured(expression: Expression, scope: Scope): Expression {
  const edges = MAP_EDGE.join(', ');
  const { text, metrics } = troubleOf(scope);
  const lines = LINES.reduce(
    (before, { trouble: value, color, dashes }) =>
      replaceWhere(replaceWhere(before, 'color', color, value), 'strokedasharray', dashes, value),
    `count_values by (${edges}) ("trouble", ${text})`,
  );
  return {
    ...expression,
    text: `${expression.text} * on (${edges}) group_left (color, strokedasharray) ${lines}`,
    metrics: [...new Set([...expression.metrics, ...metrics])],
  };
}

const replaceWhere = (text: string, label: string, value: string, trouble: number) =>
  `label_replace(${text}, "${label}", "${value}", "trouble", "${trouble}")`;

/** Copies a label. `label_replace` would need `$1`, which looks like a variable of Grafana. */
const copied = (text: string, to: string, from: string) => joinLabels(text, to, '', [from]);

const idOf = (end: 'source' | 'target') => ['cluster', `${end}_kind`, `${end}_namespace`, end];

/** Returns edges with the identifiers of a node graph. The names of both ends move to the labels `client` and `server`. */
function asEdges(expression: Expression): Expression {
  const named = copied(copied(expression.text, 'client', 'source'), 'server', 'target');
  const ends = joinLabels(joinLabels(named, 'source', '/', idOf('source')), 'target', '/', idOf('target'));
  return rewrite(expression, joinLabels(ends, 'id', ' > ', ['source', 'target']));
}

/** Returns the values of all edges of a node in one. */
function asNodes(how: 'sum' | 'avg', expression: Expression): Expression {
  const end = (name: 'source' | 'target') => {
    const titled = copied(copied(expression.text, 'title', name), 'subtitle', `${name}_namespace`);
    return joinLabels(copied(titled, 'detail__kind', `${name}_kind`), 'id', '/', idOf(name));
  };
  const text = `${how} by (cluster, id, title, subtitle, detail__kind) (${end('source')} or ${end('target')})`;
  return rewrite(expression, text);
}

/** A field of a frame of a node graph. */
export interface GraphField {
  readonly name: string;
  readonly expression: Expression;
}

/** Returns the fields of the edges of a node graph. */
export function edgeFields(scope: Scope): readonly GraphField[] {
  const fields: Readonly<Record<string, Expression>> = {
    mainstat: coloured(kilobytes(scope), scope),
    secondarystat: rateOf('edge_connections', scope),
    thickness: thickness(scope),
    detail__failed: failedShareOf(scope),
    detail__retransmitted: rateOf('edge_retransmitted_segments', scope),
  };
  return Object.entries(fields).map(([name, expression]) => ({ name, expression: asEdges(expression) }));
}

/** Returns the fields of the nodes of a node graph. The arcs are the shares of the edges by their trouble. */
export function nodeFields(scope: Scope): readonly GraphField[] {
  const share = (trouble: number) => asNodes('avg', promql`(${troubleOf(scope)} == bool ${trouble})`);
  return [
    { name: 'mainstat', expression: asNodes('sum', kilobytes(scope)) },
    { name: 'secondarystat', expression: asNodes('sum', rateOf('edge_connections', scope)) },
    { name: 'arc__fine', expression: share(TROUBLES.none) },
    { name: 'arc__notice', expression: share(TROUBLES.notice) },
    { name: 'arc__bad', expression: share(TROUBLES.bad) },
  ];
}
