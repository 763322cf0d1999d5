import type { SeenEvent } from '../event_log.ts';
import { HISTORY_MS } from '../flows/history.ts';
import type { SparkPoint } from '../line.ts';

/** Events of one type and reason that occurred at about the same time. */
export interface Mark {
  readonly key: string;
  /** Position on the time axis, from 0 to 1. */
  readonly at: number;
  readonly type: string;
  readonly severity: string;
  readonly count: number;
  /** Whether the mark is for a change of the node's network instead of an event of the Pod. */
  readonly isChange: boolean;
  readonly message: string;
  readonly time: string;
}

/** Length of an interval in milliseconds. Events of one type and reason in the same interval share one mark. */
const TOGETHER_MS = 10_000;
const MARKS_MAX = 60;
/** Probe whose events describe changes of the node. */
const CHANGES = 'changes';

export function isChange({ probe }: SeenEvent['event']): boolean {
  return probe === CHANGES;
}

/** Returns the marks of the last five minutes, newest first. They show the events of a Pod, and changes of the node. */
export function marksOf(events: readonly SeenEvent[], namespace: string, pod: string, endMs: number): Mark[] {
  const marks = new Map<string, Mark>();
  for (const { event } of events) {
    const isOfNode = isChange(event);
    if (!isOfNode && (event.namespace !== namespace || event.pod !== pod)) continue;
    const ms = Date.parse(event.time);
    const at = 1 - (endMs - ms) / HISTORY_MS;
    if (at < 0 || marks.size >= MARKS_MAX) continue;
    const { type, severity, message, time } = event;
    const reason = String(event['reason'] ?? event['cause'] ?? '');
    const key = `${type} ${reason} ${Math.floor(ms / TOGETHER_MS)}`;
    const before = marks.get(key);
    const count = (event.count ?? 1) + (before?.count ?? 0);
    marks.set(key, {
      ...(before ?? { key, at: Math.min(1, at), type, severity, isChange: isOfNode, message, time }),
      count,
    });
  }
  return [...marks.values()].sort((a, b) => b.at - a.at);
}

/** Part of the time axis for which the page has no reading, from 0 to 1. */
export interface Gap {
  readonly from: number;
  readonly to: number;
}

/** Duration of a step between two readings, as a fraction of the axis. */
const STEP = 10_000 / HISTORY_MS;

/** Returns the periods before the first reading, and between readings that are far apart. */
export function gapsOf(points: readonly SparkPoint[]): Gap[] {
  const gaps: Gap[] = [];
  let end = 0;
  for (const [index, { at, isAfterGap = false }] of points.entries()) {
    const start = Math.max(end, at - STEP);
    if ((index === 0 || isAfterGap) && start > end) gaps.push({ from: end, to: start });
    end = Math.max(0, at);
  }
  if (points.length === 0) gaps.push({ from: 0, to: 1 });
  return gaps;
}

/** Returns the value at a position on the axis; null if it is unknown. */
export function valueAt(points: readonly SparkPoint[], at: number): number | null {
  const point = points.find((one) => one.at >= at - 1e-9);
  if (point === undefined || point.at - at > STEP * 1.5) return null;
  return point.value;
}
