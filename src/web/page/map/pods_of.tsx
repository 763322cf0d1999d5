import type { JSX } from 'preact';
import type { MapNode } from '#api/map.ts';
import { visible } from '#core/inert.ts';
import type { FlowBook } from '../flows/book.ts';
import type { EdgeView } from '../flows/edge_view.ts';
import { type Verdict, worstOf } from '../flows/verdict.ts';
import { bytesRate, count } from '../format.ts';
import { formatPlace } from '../location.ts';
import type { FlowName } from './directory.ts';
import { TroubleText } from './panel.tsx';

const SHOWN_MAX = 30;

interface PodSum {
  readonly pod: string;
  readonly bytesRate: number;
  readonly verdict: Verdict | undefined;
}

/** Returns the Pods of a workload on this node. Pods with problems come first. */
export function podsOf(edges: readonly EdgeView[], { namespace, name }: MapNode): PodSum[] {
  const byPod = new Map<string, EdgeView[]>();
  for (const view of edges) {
    const edge: FlowName = view.edge;
    const { pod, workload, namespace: own } = edge;
    if (pod === null || pod === '' || own !== namespace || workload !== name) continue;
    byPod.set(pod, [...(byPod.get(pod) ?? []), view]);
  }
  const sums = [...byPod].map(([pod, views]) => ({
    pod,
    bytesRate: views.reduce((sum, { numbers }) => sum + (numbers.bytes ?? 0), 0),
    verdict: worstOf(views.flatMap(({ verdict }) => verdict ?? [])),
  }));
  const rank = ({ verdict }: PodSum) => ['alert', 'notice', undefined].indexOf(verdict?.grade);
  return sums.sort((a, b) => rank(a) - rank(b) || b.bytesRate - a.bytesRate || (a.pod < b.pod ? -1 : 1));
}

/** Lists the Pods of a workload. This list is the only part of the map that shows Pods. */
export function PodsOf({ flows, node }: { flows: FlowBook; node: MapNode }): JSX.Element | null {
  if (node.kind !== 'workload') return null;
  const pods = podsOf(flows.edges, node);
  return (
    <>
      <h3>Pods on this node ({count(pods.length)})</h3>
      <ul class="mini">
        {pods.slice(0, SHOWN_MAX).map(({ pod, bytesRate: bytes, verdict }) => (
          <li key={pod}>
            <a class="value" href={formatPlace({ tab: 'pods', filters: { pod: `${node.namespace}/${pod}` } })}>
              {visible(pod)}
            </a>
            <span>
              {verdict === undefined ? (
                <span class="quiet">{bytesRate(bytes)}</span>
              ) : (
                <TroubleText trouble={verdict} />
              )}
            </span>
          </li>
        ))}
      </ul>
      {pods.length > SHOWN_MAX && <p class="quiet">and {count(pods.length - SHOWN_MAX)} more</p>}
    </>
  );
}
