import { BOX, type Spot } from './layout.ts';

export interface Ends {
  readonly id: string;
  readonly source: string;
  readonly target: string;
}

/** A cubic Bézier curve: start, two control points, end. */
export type Curve = readonly [number, number, number, number, number, number, number, number];
export type Route = readonly Curve[];

/** Minimum distance between a line and a box that it passes. */
const CLEAR = 8;
/** Distance by which a loop extends beyond a box. */
const BULGE = 42;
/** Maximum distance in pixels between the ends of two lines on the side of a box. */
const PORT_STEP = 8;
/** Space for the arrow or bar at the end of a line. */
const TIP = 2;

interface Anchor {
  readonly x: number;
  readonly y: number;
}

/**
 * Returns the lines between boxes. A line goes to the right, and around any boxes in between. A line to a box in the
 * same column or further left loops back.
 */
export function routesOf(edges: readonly Ends[], spots: ReadonlyMap<string, Spot>): Map<string, Route> {
  const shown = edges.filter(({ source, target }) => spots.has(source) && spots.has(target));
  const starts = anchors(shown, spots, 'source', 'target', BOX.width / 2);
  const ends = anchors(shown, spots, 'target', 'source', -BOX.width / 2 - TIP);
  const columns = columnsFrom(spots);
  const routes = new Map<string, Route>();
  for (const { id } of shown) {
    const from = starts.get(id);
    const to = ends.get(id);
    if (from === undefined || to === undefined) continue;
    routes.set(id, to.x - from.x < 20 ? [loop(from, to)] : swing(from, to, columns));
  }
  return routes;
}

/** Distributes the ends of lines along the side of each box, in the vertical order of their opposite ends. */
function anchors(
  edges: readonly Ends[],
  spots: ReadonlyMap<string, Spot>,
  here: 'source' | 'target',
  there: 'source' | 'target',
  offset: number,
): Map<string, Anchor> {
  const byBox = new Map<string, Ends[]>();
  for (const edge of edges) byBox.set(edge[here], [...(byBox.get(edge[here]) ?? []), edge]);
  const found = new Map<string, Anchor>();
  for (const [box, own] of byBox) {
    const spot = spots.get(box) as Spot;
    const height = (edge: Ends) => spots.get(edge[there])?.y ?? 0;
    own.sort((a, b) => height(a) - height(b) || (a.id < b.id ? -1 : 1));
    const step = Math.min(PORT_STEP, (BOX.height - 10) / own.length);
    for (const [index, { id }] of own.entries()) {
      found.set(id, { x: spot.x + offset, y: spot.y + (index - (own.length - 1) / 2) * step });
    }
  }
  return found;
}

function loop(from: Anchor, to: Anchor): Curve {
  const isLevel = Math.abs(to.y - from.y) < BOX.height;
  const below = Math.max(from.y, to.y) + BOX.height;
  return isLevel
    ? [from.x, from.y, from.x + BULGE, below, to.x - BULGE, below, to.x, to.y]
    : [from.x, from.y, from.x + BULGE, from.y, to.x - BULGE, to.y, to.x, to.y];
}

interface Column {
  readonly x: number;
  /** Vertical positions of the boxes, from top to bottom. */
  readonly heights: readonly number[];
}

function columnsFrom(spots: ReadonlyMap<string, Spot>): readonly Column[] {
  const columns = new Map<number, number[]>();
  for (const { x, y } of spots.values()) columns.set(x, [...(columns.get(x) ?? []), y]);
  return [...columns].map(([x, heights]) => ({ x, heights: heights.sort((a, b) => a - b) })).sort((a, b) => a.x - b.x);
}

function swing(from: Anchor, to: Anchor, columns: readonly Column[]): Route {
  const stops: Anchor[] = [from];
  for (const { x, heights } of columns) {
    const left = x - BOX.width / 2;
    const right = x + BOX.width / 2;
    if (left <= from.x || right >= to.x) continue;
    const start = stops.at(-1) as Anchor;
    const direct = curve(start, to);
    const yLeft = heightAt(direct, left);
    const yRight = heightAt(direct, right);
    const reach = BOX.height / 2 + CLEAR - 2;
    const low = Math.min(yLeft, yRight) - reach;
    const high = Math.max(yLeft, yRight) + reach;
    if (!heights.some((y) => y > low && y < high)) continue;
    const y = freeHeight(heights, (yLeft + yRight) / 2);
    stops.push({ x: left, y }, { x: right, y });
  }
  stops.push(to);
  return stops.slice(1).map((stop, index) => curve(stops[index] as Anchor, stop));
}

/** Returns the vertical position nearest to `wish` at which a line can cross a column without touching a box. */
function freeHeight(heights: readonly number[], wish: number): number {
  const clear = BOX.height / 2 + CLEAR;
  const isFree = (y: number) => heights.every((box) => Math.abs(box - y) >= clear - 1);
  const candidates = heights.flatMap((box) => [box - clear, box + clear]).filter(isFree);
  return candidates.sort((a, b) => Math.abs(a - wish) - Math.abs(b - wish) || a - b)[0] ?? wish;
}

function curve(from: Anchor, to: Anchor): Curve {
  const half = (to.x - from.x) / 2;
  return [from.x, from.y, from.x + half, from.y, to.x - half, to.y, to.x, to.y];
}

/** Returns the vertical position of a left-to-right curve at the horizontal position `x`. */
function heightAt(one: Curve, x: number): number {
  let low = 0;
  let high = 1;
  for (let step = 0; step < 14; step++) {
    const middle = (low + high) / 2;
    if (pointOn(one, middle)[0] < x) low = middle;
    else high = middle;
  }
  return pointOn(one, (low + high) / 2)[1];
}

function pointOn(one: Curve, t: number): [x: number, y: number] {
  const s = 1 - t;
  const at = (first: number, second: number, third: number, fourth: number) =>
    s * s * s * first + 3 * s * s * t * second + 3 * s * t * t * third + t * t * t * fourth;
  return [at(one[0], one[2], one[4], one[6]), at(one[1], one[3], one[5], one[7])];
}

/** Returns a point of a line. @param t position from 0 to 1 */
export function pointAt(route: Route, t: number): [x: number, y: number] {
  const index = Math.min(route.length - 1, Math.floor(t * route.length));
  return pointOn(route[index] as Curve, t * route.length - index);
}

/** Returns a line in the format of the attribute `d` of an SVG path. */
export function pathOf(route: Route): string {
  const text = (value: number) => String(Math.round(value * 10) / 10);
  return route
    .map((one, index) => {
      const [x, y, ...rest] = one;
      return `${index === 0 ? `M${text(x)} ${text(y)}` : ''}C${rest.map(text).join(' ')}`;
    })
    .join('');
}
