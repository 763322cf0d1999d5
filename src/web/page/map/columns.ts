/** Maximum number of columns in a picture, so that it fits on a screen. */
export const COLUMNS_MAX = 9;
/** A hub has at least HUB_PEERS peers, and its peers are more than the fraction HUB_SHARE of all boxes. */
const HUB_PEERS = 8;
const HUB_SHARE = 0.4;

export interface LayoutNode {
  readonly id: string;
  /** Band of the picture: the namespace, or empty for peers outside the cluster. */
  readonly band: string;
  /** Whether the box is placed in the last column, regardless of its calls. */
  readonly isLast: boolean;
  /** Whether the box represents a whole namespace. Such a box is never a hub, even if it has many peers. */
  readonly isGroup?: boolean;
}

export interface LayoutEdge {
  readonly source: string;
  readonly target: string;
}

/**
 * Boxes sorted by ID. For each box, `asking` contains the indexes of its callers, and `asked` those of the boxes it
 * calls.
 */
export interface Graph {
  readonly nodes: readonly LayoutNode[];
  readonly asking: readonly (readonly number[])[];
  readonly asked: readonly (readonly number[])[];
  readonly isHub: readonly boolean[];
}

/** Sorts boxes and edges, so that the result does not depend on the order of the input. */
export function graphOf(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[]): Graph {
  const sorted = [...nodes].sort((a, b) => (a.id < b.id ? -1 : 1));
  const numbers = new Map(sorted.map(({ id }, index) => [id, index]));
  const asking = sorted.map(() => new Set<number>());
  const asked = sorted.map(() => new Set<number>());
  for (const { source, target } of edges) {
    const from = numbers.get(source);
    const to = numbers.get(target);
    if (from === undefined || to === undefined || from === to) continue;
    asked[from]?.add(to);
    asking[to]?.add(from);
  }
  const list = (sets: readonly Set<number>[]) => sets.map((set) => [...set].sort((a, b) => a - b));
  const isHub = sorted.map((_, index) => {
    const peers = Math.max(asking[index]?.size ?? 0, asked[index]?.size ?? 0);
    return sorted[index]?.isGroup !== true && peers >= HUB_PEERS && peers > HUB_SHARE * sorted.length;
  });
  return { nodes: sorted, asking: list(asking), asked: list(asked), isHub };
}

/** Returns the column of each box, chosen so that calls go from left to right. Calls to and from hubs are ignored. */
export function columnsOf(graph: Graph): number[] {
  const { nodes, isHub } = graph;
  const live = liveGraph(graph);
  const columns = longestPaths(live);
  const deepest = Math.max(0, ...columns);
  if (deepest >= COLUMNS_MAX) relax(live, columns, deepest);
  else pullSources(live, columns);
  const free = nodes.map((node, index) => !node.isLast && isHub[index] !== true);
  compact(columns, free);
  const inner = Math.max(0, ...columns.filter((_, index) => free[index]));
  const isCalledFromInner = (index: number) =>
    nodes[index]?.isLast && graph.asking[index]?.some((from) => free[from] && columns[from] === inner);
  const last = [...nodes.keys()].some(isCalledFromInner) ? Math.min(COLUMNS_MAX - 1, inner + 1) : inner;
  for (const [index, node] of nodes.entries()) {
    if (node.isLast) columns[index] = last;
    else if (isHub[index]) columns[index] = isAnswering(graph, index) ? inner : 0;
  }
  return columns;
}

/** Whether a box has at least as many callers as callees. */
function isAnswering({ asking, asked }: Graph, index: number): boolean {
  return (asking[index]?.length ?? 0) >= (asked[index]?.length ?? 0);
}

interface LiveGraph {
  readonly order: readonly number[];
  readonly asking: readonly (readonly number[])[];
  readonly asked: readonly (readonly number[])[];
}

/** Removes hubs, and calls that close a cycle. Returns the other boxes in topological order, callers first. */
function liveGraph({ nodes, asking, asked, isHub }: Graph): LiveGraph {
  const state = new Uint8Array(nodes.length);
  const order: number[] = [];
  const back = new Set<number>();
  const isLive = (index: number) => isHub[index] !== true;
  const roots = [...nodes.keys()].filter(isLive);
  roots.sort((a, b) => (asking[a]?.length ?? 0) - (asking[b]?.length ?? 0) || a - b);
  const visit = (root: number): void => {
    const stack = [{ index: root, next: 0 }];
    state[root] = 1;
    for (let top = stack.at(-1); top !== undefined; top = stack.at(-1)) {
      const target = asked[top.index]?.[top.next++];
      if (target === undefined) {
        state[top.index] = 2;
        order.push(top.index);
        stack.pop();
      } else if (state[target] === 1) back.add(top.index * nodes.length + target);
      else if (isLive(target) && state[target] === 0) {
        state[target] = 1;
        stack.push({ index: target, next: 0 });
      }
    }
  };
  for (const root of roots) if (state[root] === 0) visit(root);
  const keep = (from: number, to: number) => isLive(from) && isLive(to) && !back.has(from * nodes.length + to);
  return {
    order: order.reverse(),
    asking: asking.map((callers, to) => callers.filter((from) => keep(from, to))),
    asked: asked.map((targets, from) => targets.filter((to) => keep(from, to))),
  };
}

function longestPaths({ order, asked }: LiveGraph): number[] {
  const columns = asked.map(() => 0);
  for (const from of order) {
    for (const to of asked[from] ?? []) columns[to] = Math.max(columns[to] ?? 0, (columns[from] ?? 0) + 1);
  }
  return columns;
}

const SWEEPS = 300;
/** Factor of successive over-relaxation, which makes the sweeps converge faster. */
const OVER = 1.5;

/**
 * Computes levels by least squares, with the aim that each call spans one column, and scales them to the available
 * columns. Used if the longest path needs more columns than are available.
 */
function relax({ order, asking, asked }: LiveGraph, columns: number[], deepest: number): void {
  const most = COLUMNS_MAX - 1;
  const levels = columns.map((column) => (column / deepest) * most);
  const wish = (index: number): number | undefined => {
    const right = (asking[index] ?? []).map((from) => (levels[from] ?? 0) + 1);
    const left = (asked[index] ?? []).map((to) => (levels[to] ?? 0) - 1);
    const calls = right.length + left.length;
    return calls === 0 ? undefined : [...right, ...left].reduce((sum, level) => sum + level, 0) / calls;
  };
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const index of order) {
      const own = levels[index] ?? 0;
      levels[index] = own + OVER * ((wish(index) ?? own) - own);
    }
  }
  const live = order.map((index) => levels[index] ?? 0);
  const low = Math.min(...live);
  const scale = most / Math.max(Math.max(...live) - low, 1e-9);
  for (const index of order) columns[index] = Math.round(((levels[index] ?? 0) - low) * scale);
}

/** Moves each box without callers to the column left of the leftmost box that it calls. */
function pullSources({ order, asking, asked }: LiveGraph, columns: number[]): void {
  for (const index of order) {
    const targets = asked[index] ?? [];
    if ((asking[index]?.length ?? 0) > 0 || targets.length === 0) continue;
    columns[index] = Math.max(0, Math.min(...targets.map((to) => columns[to] ?? 0)) - 1);
  }
}

/** Removes empty columns. */
function compact(columns: number[], isFree: readonly boolean[]): void {
  const used = [...new Set(columns.filter((_, index) => isFree[index]))].sort((a, b) => a - b);
  const numbers = new Map(used.map((column, index) => [column, index]));
  for (const [index, column] of columns.entries()) columns[index] = numbers.get(column) ?? 0;
}

/**
 * Returns columns for boxes that are new in a known picture: to the right of their callers, or otherwise to the left of
 * the boxes that they call.
 * @param known columns of the boxes that are not new
 */
export function columnsOfNew(graph: Graph, known: ReadonlyMap<number, number>): Map<number, number> {
  const columns = new Map(known);
  const last = Math.max(0, ...known.values());
  const waiting = new Set([...graph.nodes.keys()].filter((index) => !known.has(index)));
  const settle = (index: number): boolean => {
    const column = columnBeside(graph, columns, index, last);
    if (column === undefined) return false;
    columns.set(index, column);
    waiting.delete(index);
    return true;
  };
  while ([...waiting].some(settle));
  for (const index of waiting) columns.set(index, 0);
  return columns;
}

function columnBeside(
  { nodes, asking, asked, isHub }: Graph,
  columns: ReadonlyMap<number, number>,
  index: number,
  last: number,
): number | undefined {
  if (nodes[index]?.isLast) return last;
  const placed = (indexes: readonly number[] = []) =>
    indexes.filter((other) => isHub[other] !== true).flatMap((other) => columns.get(other) ?? []);
  const before = placed(asking[index]);
  if (before.length > 0) return Math.min(COLUMNS_MAX - 1, Math.max(...before) + 1);
  const after = placed(asked[index]);
  return after.length > 0 ? Math.max(0, Math.min(...after) - 1) : undefined;
}
