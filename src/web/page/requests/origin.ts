import type { RequestView } from './request_view.ts';

const GRADES = { notice: 1, alert: 2 } as const;

/** Names of the client and the server of an edge. A Service counts as the workload of the same name. */
interface Ends {
  readonly client: string;
  readonly server: string;
}

function endsOf({ edge }: RequestView): Ends {
  const own = `${edge.namespace ?? ''}/${edge.workload ?? ''}`;
  const peer = `${edge.peerNamespace}/${edge.peerName === '' ? edge.peer : edge.peerName}`;
  return edge.role === 'server' ? { client: peer, server: own } : { client: own, server: peer };
}

/**
 * Finds edges whose trouble may come from another edge, because their server is itself a client of that edge, which has
 * the same kind of trouble and is at least as bad. Returns that edge by the ID of the first one: the last one of the
 * chain, where the trouble may begin.
 */
export function originsOf(edges: readonly RequestView[]): ReadonlyMap<string, RequestView> {
  const troubled = edges.filter(({ verdict }) => verdict !== undefined);
  const byClient = Map.groupBy(troubled, (view) => endsOf(view).client);
  const next = (view: RequestView) => {
    const { client, server } = endsOf(view);
    if (client === server) return undefined;
    return byClient
      .get(server)
      ?.filter(({ verdict }) => isLikely(view.verdict, verdict))
      .sort((a, b) => (b.counts?.failed ?? 0) - (a.counts?.failed ?? 0) || (a.name < b.name ? -1 : 1))[0];
  };
  const origins = new Map<string, RequestView>();
  for (const view of troubled) {
    const seen = new Set([view.id]);
    let origin: RequestView | undefined;
    for (let one = next(view); one !== undefined && !seen.has(one.id); one = next(one)) {
      seen.add(one.id);
      origin = one;
    }
    if (origin !== undefined) origins.set(view.id, origin);
  }
  return origins;
}

function isLikely(verdict: RequestView['verdict'], further: RequestView['verdict']): boolean {
  if (verdict === undefined || further === undefined) return false;
  return further.kind === verdict.kind && GRADES[further.grade] >= GRADES[verdict.grade];
}
