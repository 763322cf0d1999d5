import type { MapNode } from '#api/map.ts';
import { visible } from '#core/inert.ts';
import type { LayoutNode } from './columns.ts';
import type { EdgeView, Snapshot } from './model.ts';
import { fullNameOf, isOutside, nameOf } from './names.ts';
import { type State, stateOf, type Trouble, worseFirst } from './verdict.ts';

/** If the map has more boxes or lines than this, it opens with one box for each namespace. */
export const BOXES_MAX = 80;
export const LINES_MAX = 250;

/** Bands that are not namespaces. The name of a namespace cannot be empty or begin with a space. */
export const OUTSIDE = '';
const NODES = ' nodes';
const MACHINE = ' machine';

export interface Box extends LayoutNode {
  readonly title: string;
  readonly fullTitle: string;
  /** `group` is a namespace that is shown as a single box. */
  readonly kind: MapNode['kind'] | 'group';
  /** IDs of the nodes that the box represents. */
  readonly members: readonly string[];
  /** Kinds of these nodes. */
  readonly memberKinds: ReadonlySet<MapNode['kind']>;
  /** Worst state of the edges that begin or end at the box, or are inside it. */
  readonly state: State;
  readonly bytesRate: number;
  /** Number of edges with problems that begin or end at the box. */
  readonly troubles: number;
}

export interface Line {
  readonly id: string;
  readonly source: string;
  readonly target: string;
  /** Edges that the line represents, worst first. A line between namespaces represents several edges. */
  readonly edges: readonly EdgeView[];
  readonly trouble: Trouble | undefined;
  readonly bytesRate: number;
}

export interface Picture {
  readonly boxes: readonly Box[];
  readonly lines: readonly Line[];
  readonly boxOf: (node: string, end: 'source' | 'target') => string;
}

export interface Detail {
  readonly level: 'workloads' | 'namespaces';
  /** Bands whose boxes are shown individually at the level `namespaces`. */
  readonly opened: ReadonlySet<string>;
}

export const ALL: Detail = { level: 'workloads', opened: new Set() };

export function bandOf(node: MapNode): string {
  const { kind, namespace } = node;
  if (isOutside(node)) return OUTSIDE;
  if (namespace !== '') return namespace;
  return kind === 'node' ? NODES : MACHINE;
}

export function bandTitle(band: string, isCluster: boolean): string {
  if (band === OUTSIDE) return isCluster ? 'outside the cluster, or unknown' : 'outside this machine, or unknown';
  if (band === NODES) return 'nodes';
  return band === MACHINE ? 'this machine' : visible(band);
}

function isGrouped(band: string, { level, opened }: Detail): boolean {
  return level === 'namespaces' && band !== OUTSIDE && !opened.has(band);
}

/**
 * Returns the boxes and lines for a level of detail. A peer outside the cluster that is both a client and a server has
 * two boxes: one on the left as a client, and one on the right as a server.
 */
export function pictureOf(snapshot: Snapshot, detail: Detail): Picture {
  const idOf = (node: MapNode, end: 'source' | 'target') => {
    const band = bandOf(node);
    if (isGrouped(band, detail)) return groupId(band);
    return end === 'source' && isOutside(node) ? `${node.id} asks` : node.id;
  };
  const boxOf = (id: string, end: 'source' | 'target') => {
    const node = snapshot.nodes.get(id);
    return node === undefined ? id : idOf(node, end);
  };
  const builder = new BoxBuilder(detail);
  const lines = new Map<string, EdgeView[]>();
  for (const edge of snapshot.edges) {
    const source = idOf(edge.source, 'source');
    const target = idOf(edge.target, 'target');
    builder.add(source, edge.source, edge, 'source');
    builder.add(target, edge.target, edge, 'target');
    if (source === target) continue;
    const isSingle = !isGroupId(source) && !isGroupId(target);
    const key = isSingle ? edge.id : `${source} > ${target}`;
    const own = lines.get(key);
    if (own === undefined) lines.set(key, [edge]);
    else own.push(edge);
  }
  for (const node of snapshot.nodes.values()) if (!isOutside(node)) builder.add(idOf(node, 'target'), node);
  return {
    boxes: builder.boxes(),
    lines: [...lines].map(([id, edges]) => lineOf(id, edges, idOf)),
    boxOf,
  };
}

function lineOf(
  id: string,
  edges: readonly EdgeView[],
  idOf: (node: MapNode, end: 'source' | 'target') => string,
): Line {
  const [first] = edges as readonly [EdgeView, ...EdgeView[]];
  return {
    id,
    source: idOf(first.source, 'source'),
    target: idOf(first.target, 'target'),
    edges,
    trouble: first.trouble,
    bytesRate: edges.reduce((sum, { bytesRate }) => sum + bytesRate, 0),
  };
}

export function groupId(band: string): string {
  return `group ${band}`;
}

export function isGroupId(id: string): boolean {
  return id.startsWith('group ');
}

interface Gathered {
  readonly node: MapNode;
  readonly band: string;
  readonly end: 'source' | 'target' | undefined;
  readonly members: Set<string>;
  readonly memberKinds: Set<MapNode['kind']>;
  worst: Trouble | undefined;
  bytesRate: number;
  readonly troubles: Set<string>;
}

class BoxBuilder {
  readonly #detail: Detail;
  readonly #found = new Map<string, Gathered>();

  constructor(detail: Detail) {
    this.#detail = detail;
  }

  /** @param end end of the edge at which the node is located */
  add(id: string, node: MapNode, edge?: EdgeView, end?: 'source' | 'target'): void {
    const found = this.#found.get(id) ?? this.#begin(id, node, end);
    found.members.add(node.id);
    found.memberKinds.add(node.kind);
    if (edge === undefined) return;
    found.bytesRate += edge.bytesRate;
    if (edge.trouble === undefined) return;
    found.troubles.add(edge.id);
    if (end === 'target' && worseFirst(edge.trouble, found.worst) < 0) found.worst = edge.trouble;
  }

  #begin(id: string, node: MapNode, end: Gathered['end']): Gathered {
    const found = {
      node,
      band: bandOf(node),
      end,
      members: new Set<string>(),
      memberKinds: new Set<MapNode['kind']>(),
      worst: undefined,
      bytesRate: 0,
      troubles: new Set<string>(),
    };
    this.#found.set(id, found);
    return found;
  }

  boxes(): Box[] {
    return [...this.#found].map(([id, { node, band, end, members, memberKinds, worst, bytesRate, troubles }]) => {
      const isGroup = isGrouped(band, this.#detail);
      return {
        id,
        band,
        isLast: isOutside(node) && end === 'target',
        isGroup,
        title: isGroup ? bandTitle(band, true) : nameOf(node),
        fullTitle: isGroup ? `namespace ${bandTitle(band, true)}` : fullNameOf(node),
        kind: isGroup ? 'group' : node.kind,
        members: [...members].sort(),
        memberKinds,
        state: stateOf(worst),
        bytesRate,
        troubles: troubles.size,
      };
    });
  }
}

/**
 * Chooses the level of detail at which the map opens. Above {@link BOXES_MAX} boxes or {@link LINES_MAX} lines, each
 * namespace is one box. Within these limits, the namespaces with the worst problems are then expanded.
 */
export function firstDetail(snapshot: Snapshot): Detail {
  const isSmall = ({ boxes, lines }: Picture) => boxes.length <= BOXES_MAX && lines.length <= LINES_MAX;
  if (isSmall(pictureOf(snapshot, ALL))) return ALL;
  let detail: Detail = { level: 'namespaces', opened: new Set() };
  const tried = new Set<string>();
  for (const { source, target } of snapshot.trouble) {
    for (const band of [bandOf(target), bandOf(source)]) {
      if (tried.has(band) || band === OUTSIDE) continue;
      tried.add(band);
      const opened = { ...detail, opened: new Set([...detail.opened, band]) };
      if (isSmall(pictureOf(snapshot, opened))) detail = opened;
    }
  }
  return detail;
}
