import type { MapNode } from '#api/map.ts';
import type { EdgeProtocol } from '#api/words.ts';
import { fullNameOf, isOutside } from './names.ts';
import type { Trouble } from './verdict.ts';

interface TroubledEdge {
  readonly source: MapNode;
  readonly target: MapNode;
  readonly protocol: EdgeProtocol;
  readonly trouble: Trouble | undefined;
}

/** Edges with problems that probably have the same cause. */
export interface Fault<Edge> {
  /** The edge that shows the cause best. */
  readonly edge: Edge;
  readonly others: readonly Edge[];
}

/** Kinds of problems whose cause is known, because an event reports it. */
const CERTAIN: readonly (Trouble['kind'] | undefined)[] = ['denied', 'full'];

/**
 * Groups edges with problems. The edges between the same two names are one fault, because a client that calls a Service
 * has edges with the ports of the Service and of its Pods. A client without a name is added to the fault of a named
 * client if the problem at the server is the same.
 * @param trouble edges with problems, worst first
 */
export function faultsIn<Edge extends TroubledEdge>(trouble: readonly Edge[]): readonly Fault<Edge>[] {
  const byEnds = new Map<string, Edge[]>();
  for (const edge of trouble.filter(({ source }) => hasName(source))) add(byEnds, endsOf(edge), edge);
  for (const edge of trouble.filter(({ source }) => !hasName(source))) {
    const same = [...byEnds.values()].find((edges) => edges.some((other) => isSameFault(edge, other)));
    if (same === undefined) add(byEnds, endsOf(edge), edge);
    else same.push(edge);
  }
  const faults = [...byEnds.values()].map((edges): Fault<Edge> => {
    const worst = edges.filter(({ trouble: one }) => one?.grade === edges[0]?.trouble?.grade);
    const edge = worst.find(({ trouble: one }) => CERTAIN.includes(one?.kind)) ?? (edges[0] as Edge);
    return { edge, others: edges.filter((other) => other !== edge) };
  });
  return faults.sort((a, b) => trouble.indexOf(a.edge) - trouble.indexOf(b.edge));
}

function hasName({ kind }: MapNode): boolean {
  return kind !== 'unknown' && kind !== 'pending';
}

function endsOf({ source, target, protocol }: TroubledEdge): string {
  // A box outside of the cluster is never the same as a workload, whatever its name is.
  const nameOf = (node: MapNode) => (isOutside(node) ? node.id : fullNameOf(node));
  return `${protocol} ${nameOf(source)} > ${nameOf(target)}`;
}

function isSameFault(a: TroubledEdge, b: TroubledEdge): boolean {
  return fullNameOf(a.target) === fullNameOf(b.target) && a.trouble?.kind === b.trouble?.kind;
}

function add<Edge>(groups: Map<string, Edge[]>, key: string, edge: Edge): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [edge]);
  else group.push(edge);
}
