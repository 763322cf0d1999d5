import { addCounts, type EdgeCounts, NO_COUNTS } from '#api/flow_rates.ts';
import type { MapReport } from '#api/map.ts';
import { FlowHistory, type Point } from '../flows/history.ts';

/** The map from the last response, and the growth of its edges. */
export class MapBook {
  readonly history = new FlowHistory();
  /** Reason why the agent has no map, and what to do about it; empty if it has a map. */
  unavailable = '';
  #report: MapReport | undefined;

  add(report: MapReport): void {
    this.#report = report;
    this.unavailable = '';
    this.history.add({
      atMs: Date.parse(report.collectedAt),
      totals: new Map(report.edges.map((edge) => [edge.id, edge])),
      isComplete: report.omittedEdges === 0,
    });
  }

  /** The last response; undefined before the first one. */
  get report(): MapReport | undefined {
    return this.#report;
  }

  /** Returns the combined growth of several edges between the readings of the last five minutes, oldest first. */
  points(edges: readonly string[]): Point[] {
    const [first = [], ...others] = edges.map((id) => this.history.points(id));
    return first.map((point, index) => ({
      ...point,
      counts: others.reduce((sum, points) => add(sum, points[index]?.counts), point.counts),
    }));
  }
}

function add(a: EdgeCounts | undefined, b: EdgeCounts | undefined): EdgeCounts | undefined {
  return a === undefined && b === undefined ? undefined : addCounts(a ?? NO_COUNTS, b ?? NO_COUNTS);
}
