import { type EdgeCounts, edgeKey } from '#api/flow_rates.ts';
import type { EdgeSummary, FlowsSummary } from '#api/flows.ts';
import { EdgeView } from './edge_view.ts';
import { FlowHistory } from './history.ts';

/** Edges of the node from the last response, with their growth. */
export class FlowBook {
  readonly history = new FlowHistory();
  /** Reason why the agent has no flows, and what to do about it; empty if it has. */
  unavailable = '';
  #report: FlowsSummary | undefined;
  #views: { readonly version: number; readonly edges: readonly EdgeView[] } | undefined;

  add(report: FlowsSummary): void {
    this.#report = report;
    this.unavailable = '';
    const rows = [...report.edges, ...report.rest];
    this.history.add({
      atMs: Date.parse(report.collectedAt),
      totals: new Map(rows.map((edge) => [edgeKey(edge), edge])),
      isComplete: report.omitted === 0,
    });
  }

  /** The last response; undefined before the first one. */
  get report(): FlowsSummary | undefined {
    return this.#report;
  }

  /** Edges with their numbers, in the order of the response. */
  get edges(): readonly EdgeView[] {
    const { version } = this.history;
    if (this.#views?.version !== version) {
      const edges = (this.#report?.edges ?? []).map((edge) => new EdgeView(edge, this.history));
      this.#views = { version, edges };
    }
    return this.#views?.edges ?? [];
  }

  /** Returns the growth of the matching sums, each of which combines connections without a row of their own. */
  rest(isWanted: (edge: EdgeSummary) => boolean): EdgeCounts[] {
    return (this.#report?.rest ?? []).filter(isWanted).flatMap((edge) => this.history.sum(edgeKey(edge))?.counts ?? []);
  }
}
