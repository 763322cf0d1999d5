import { MEASURES } from '../flows/measures.ts';
import type { Measure } from '../flows/verdict.ts';
import { clock } from '../format.ts';
import type { MapBook } from './book.ts';
import type { EdgeView } from './model.ts';

/** Values below this fraction of the worst value are considered normal. */
const BEFORE = 0.25;

/** Returns a sentence that states when the problem of an edge began, as observed by the page; empty if unknown. */
export function sinceText(book: MapBook, { id, trouble }: EdgeView): string {
  if (trouble === undefined || trouble.kind === 'denied' || trouble.kind === 'full') return '';
  const ms = beginOf(book, id, trouble.measure);
  if (ms === undefined) return '';
  return ms === 'earlier' ? 'It began before this page saw the edge.' : `It began at about ${clock(ms)}.`;
}

function beginOf(book: MapBook, id: string, measure: Measure): number | 'earlier' | undefined {
  const points = book.points([id]).map((point) => ({ point, value: MEASURES[measure].read(point) }));
  const worst = Math.max(0, ...points.map(({ value }) => value ?? 0));
  const isBad = (value: number | null) => value !== null && value >= worst * BEFORE && value > 0;
  const last = points.findLastIndex(({ value }) => isBad(value));
  if (last < 0) return undefined;
  const before = points.findLastIndex(({ value }, index) => index < last && value !== null && !isBad(value));
  const first = points.findIndex(({ value }, index) => index > before && isBad(value));
  return before < 0 ? 'earlier' : points[first]?.point.startMs;
}
