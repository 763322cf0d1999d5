import { BOX, COLUMN, type Spot } from './layout.ts';
import { pointAt, type Route } from './routes.ts';

export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Maximum number of characters of a label. */
export const LABEL_MAX = 8;
const HEIGHT = 22;
const SIGN_WIDTH = 25;
const CHARACTER_WIDTH = 7.5;
const MARGIN = 1;
const STEPS = 40;

export interface Labelled {
  readonly id: string;
  readonly text: string;
}

/**
 * Places the labels on their lines. Earlier labels have priority. No label covers a box or another label. A label
 * without a free position on its line is placed between two columns, as near as possible to the start of the line.
 */
export function labelsOf(
  labels: readonly Labelled[],
  routes: ReadonlyMap<string, Route>,
  spots: ReadonlyMap<string, Spot>,
): Map<string, Rectangle> {
  const boxes = [...spots.values()].map(({ x, y }) => ({
    x: x - BOX.width / 2,
    y: y - BOX.height / 2,
    ...BOX,
  }));
  const placed = new Map<string, Rectangle>();
  for (const { id, text } of labels) {
    const route = routes.get(id);
    if (route === undefined) continue;
    const taken = [...boxes, ...placed.values()];
    const width = SIGN_WIDTH + Math.min(LABEL_MAX, text.length) * CHARACTER_WIDTH;
    placed.set(id, onLine(route, width, taken) ?? between(route, width, taken));
  }
  return placed;
}

function around(x: number, y: number, width: number): Rectangle {
  return { x: x - width / 2, y: y - HEIGHT / 2, width, height: HEIGHT };
}

export function overlap(a: Rectangle, b: Rectangle): boolean {
  return (
    a.x < b.x + b.width + MARGIN &&
    b.x < a.x + a.width + MARGIN &&
    a.y < b.y + b.height + MARGIN &&
    b.y < a.y + a.height + MARGIN
  );
}

/** Tries points on the line, from its middle to its ends. */
function onLine(route: Route, width: number, taken: readonly Rectangle[]): Rectangle | undefined {
  for (let step = 0; step <= STEPS; step++) {
    const offset = Math.ceil(step / 2) * (step % 2 === 0 ? 1 : -1);
    const [x, y] = pointAt(route, 0.5 + (0.46 * offset) / (STEPS / 2));
    const label = around(x, y, width);
    if (!taken.some((other) => overlap(label, other))) return label;
  }
  return undefined;
}

/** Finds a free position between two columns. There always is one, above or below all labels that are already there. */
function between(route: Route, width: number, taken: readonly Rectangle[]): Rectangle {
  const [startX, startY] = pointAt(route, 0);
  const x = startX + (COLUMN - BOX.width) / 2;
  for (let step = 0; ; step++) {
    const offset = Math.ceil(step / 2) * (step % 2 === 0 ? 1 : -1);
    const label = around(x, startY + offset * (HEIGHT + MARGIN), width);
    if (label.y >= 0 && !taken.some((other) => overlap(label, other))) return label;
  }
}
