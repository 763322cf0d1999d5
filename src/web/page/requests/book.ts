import type { FlowsSummary, RequestSummary } from '#api/flows.ts';
import type { RequestCounts } from '#api/request_rates.ts';
import { FlowHistory } from '../flows/history.ts';
import { RequestView, requestKey } from './request_view.ts';

/** Totals of an edge without connections. */
const NO_CONNECTIONS = {
  connections: 0,
  failed: {},
  sentBytes: 0,
  receivedBytes: 0,
  sentSegments: 0,
  retransmittedSegments: 0,
  roundTripSeconds: null,
  roundTripCount: 0,
} as const;

/** Requests by edge from the last response, with their growth. */
export class RequestBook {
  readonly history = new FlowHistory();
  #report: FlowsSummary['requests'];
  #views: { readonly version: number; readonly edges: readonly RequestView[] } | undefined;

  add({ collectedAt, requests }: FlowsSummary): void {
    this.#report = requests;
    const rows = [...(requests?.edges ?? []), ...(requests?.rest ?? [])];
    this.history.add({
      atMs: Date.parse(collectedAt),
      totals: new Map(rows.map((edge) => [requestKey(edge), { ...NO_CONNECTIONS, requests: edge }])),
      isComplete: (requests?.omitted ?? 0) === 0,
    });
  }

  /** Requests of the last response; undefined before the first one, and if the agent is too old to send them. */
  get report(): FlowsSummary['requests'] {
    return this.#report;
  }

  get edges(): readonly RequestView[] {
    const { version } = this.history;
    if (this.#views?.version !== version) {
      const edges = (this.#report?.edges ?? []).map((edge) => new RequestView(edge, this.history));
      this.#views = { version, edges };
    }
    return this.#views?.edges ?? [];
  }

  /** Returns the growth of the matching sums of requests without a row of their own. */
  rest(isWanted: (edge: RequestSummary) => boolean): RequestCounts[] {
    return (this.#report?.rest ?? [])
      .filter(isWanted)
      .flatMap((edge) => this.history.sum(requestKey(edge))?.counts.requests ?? []);
  }
}
