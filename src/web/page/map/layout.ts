import { columnsOf, columnsOfNew, type Graph, graphOf, type LayoutEdge, type LayoutNode } from './columns.ts';

/** Size of a box in pixels. A label of eight characters fits into the space between two columns. */
export const BOX = { width: 128, height: 44 } as const;
export const COLUMN = 216;
const ROW = 60;
const MARGIN = 14;
/** Height of a band's title, and of the space below its last row. */
const HEAD = 32;
const FOOT = 6;
const BETWEEN = 12;
/** Space on the right for lines that loop around the last column. */
const LOOP = 82;

/** Position of a box: its band, its column, and its row in the band, counted from 0. */
export interface Seat {
  readonly band: string;
  readonly column: number;
  readonly row: number;
}

/** Remembered positions of current boxes, and of boxes that disappeared recently. */
export interface Seats {
  /** Bands from top to bottom. */
  readonly bands: readonly string[];
  /** Number of rows of each band, which never decreases. */
  readonly rows: ReadonlyMap<string, number>;
  readonly byBox: ReadonlyMap<string, Seat>;
  /** Number of pairs of boxes with lines when the boxes were last placed from scratch. */
  readonly pairs: number;
}

/** Coordinates of the centre of a box, in pixels at scale 1. */
export interface Spot {
  readonly x: number;
  readonly y: number;
  readonly column: number;
  readonly isHub: boolean;
}

export interface Band {
  readonly id: string;
  readonly y: number;
  readonly height: number;
}

export interface Layout {
  readonly spots: ReadonlyMap<string, Spot>;
  readonly bands: readonly Band[];
  readonly width: number;
  readonly height: number;
  readonly seats: Seats;
  /** Whether the boxes were placed from scratch. */
  readonly isNew: boolean;
}

/** Growth of the number of pairs with lines between known boxes, above which all boxes are placed again. */
const MORE_PAIRS = 2;

export const NO_SEATS: Seats = { bands: [], rows: new Map(), byBox: new Map(), pairs: 0 };

/**
 * Places boxes in bands and columns. The result does not depend on the order of the input. A box with a remembered
 * position keeps it. The layout is computed from scratch if most boxes have none, or if most lines between known boxes are
 * new: a page that is open while workloads start places boxes before it knows their lines.
 */
export function layOut(nodes: readonly LayoutNode[], edges: readonly LayoutEdge[], before: Seats = NO_SEATS): Layout {
  const graph = graphOf(nodes, edges);
  const isKnown = ({ id, band }: LayoutNode) => before.byBox.get(id)?.band === band;
  const known = graph.nodes.map(isKnown);
  const count = known.filter(Boolean).length;
  const isKept = count > 0 && 2 * count >= graph.nodes.length && pairsIn(graph, known) <= MORE_PAIRS * before.pairs;
  const seats = isKept ? keep(graph, before) : arrange(graph);
  return draw(graph, seats, !isKept);
}

/** Counts the pairs of boxes with lines. @param isCounted boxes whose pairs are counted, by index */
function pairsIn({ asked }: Graph, isCounted: readonly (boolean | undefined)[]): number {
  const targets = asked.filter((_, from) => isCounted[from]);
  return targets.reduce((sum, to) => sum + to.filter((index) => isCounted[index]).length, 0);
}

interface Cell {
  readonly band: string;
  readonly column: number;
  /** Indexes of the boxes, from top to bottom. */
  readonly boxes: number[];
}

function arrange(graph: Graph): Seats {
  const columns = columnsOf(graph);
  const bands = bandsInOrder(graph, columns);
  const cells = cellsOf(graph, columns);
  const rows = new Map(bands.map((band) => [band, 1]));
  for (const { band, boxes } of cells) rows.set(band, Math.max(rows.get(band) ?? 1, boxes.length));
  straighten(graph, cells, bands, rows);
  const byBox = new Map<string, Seat>();
  for (const { band, column, boxes } of cells) {
    for (const [place, box] of boxes.entries()) {
      const row = place + Math.floor(((rows.get(band) ?? 1) - boxes.length) / 2);
      byBox.set(graph.nodes[box]?.id ?? '', { band, column, row });
    }
  }
  const all = graph.nodes.map(() => true);
  return { bands, rows, byBox, pairs: pairsIn(graph, all) };
}

/**
 * Sorts the bands. Peers outside the cluster come first, followed by the other bands in the order of the mean column of
 * their boxes, so that callers are above the services they call.
 */
function bandsInOrder({ nodes }: Graph, columns: readonly number[]): string[] {
  const sums = new Map<string, { sum: number; boxes: number }>();
  for (const [index, { band }] of nodes.entries()) {
    const sum = sums.get(band) ?? { sum: 0, boxes: 0 };
    sum.sum += columns[index] ?? 0;
    sum.boxes++;
    sums.set(band, sum);
  }
  const mean = (band: string) => {
    const { sum, boxes } = sums.get(band) ?? { sum: 0, boxes: 1 };
    return band === '' ? -1 : sum / boxes;
  };
  return [...sums.keys()].sort((a, b) => mean(a) - mean(b) || (a < b ? -1 : 1));
}

function cellsOf({ nodes }: Graph, columns: readonly number[]): Cell[] {
  const cells = new Map<string, Cell>();
  for (const [index, { band }] of nodes.entries()) {
    const column = columns[index] ?? 0;
    const key = `${column} ${band}`;
    const cell = cells.get(key) ?? { band, column, boxes: [] };
    cell.boxes.push(index);
    cells.set(key, cell);
  }
  return [...cells.values()];
}

const SWEEPS = 12;
/** Weight of lines to other bands, relative to lines within a band. */
const OTHER_BAND = 0.1;

/** Orders the boxes of each cell by the mean vertical position of their peers, so that fewer lines cross. */
function straighten(
  { nodes, asking, asked, isHub }: Graph,
  cells: readonly Cell[],
  bands: readonly string[],
  rows: ReadonlyMap<string, number>,
): void {
  const tops = new Map<string, number>();
  let top = 0;
  for (const band of bands) {
    tops.set(band, top);
    top += rows.get(band) ?? 1;
  }
  const heights = nodes.map(() => 0);
  const place = ({ band, boxes }: Cell) => {
    const first = (tops.get(band) ?? 0) + Math.floor(((rows.get(band) ?? 1) - boxes.length) / 2);
    for (const [index, box] of boxes.entries()) heights[box] = first + index;
  };
  const wish = (box: number): number => {
    let sum = 0;
    let weights = 0;
    for (const peer of [...(asking[box] ?? []), ...(asked[box] ?? [])]) {
      if (isHub[peer]) continue;
      const weight = nodes[peer]?.band === nodes[box]?.band ? 1 : OTHER_BAND;
      sum += (heights[peer] ?? 0) * weight;
      weights += weight;
    }
    return weights === 0 ? (heights[box] ?? 0) : sum / weights;
  };
  for (const cell of cells) place(cell);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (const cell of cells) {
      const wishes = new Map(cell.boxes.map((box) => [box, wish(box)]));
      cell.boxes.sort((a, b) => (wishes.get(a) ?? 0) - (wishes.get(b) ?? 0) || a - b);
      place(cell);
    }
  }
}

/** Keeps remembered positions. A new box gets the first free row of its column. If no row is free, the band grows. */
function keep(graph: Graph, before: Seats): Seats {
  const byBox = new Map(before.byBox);
  const rows = new Map(before.rows);
  const known = new Map<number, number>();
  const taken = new Set<string>();
  for (const [index, { id, band }] of graph.nodes.entries()) {
    const seat = byBox.get(id);
    const isFree = seat?.band === band && !taken.has(seatKey(seat));
    if (isFree) {
      known.set(index, seat.column);
      taken.add(seatKey(seat));
    } else byBox.delete(id);
  }
  const columns = columnsOfNew(graph, known);
  for (const [index, { id, band }] of graph.nodes.entries()) {
    if (known.has(index)) continue;
    const column = columns.get(index) ?? 0;
    const row = freeRow(byBox.values(), band, column);
    byBox.set(id, { band, column, row });
  }
  for (const { band, row } of byBox.values()) rows.set(band, Math.max(rows.get(band) ?? 1, row + 1));
  const used = new Set([...byBox.values()].map(({ band }) => band));
  const added = bandsInOrder(
    graph,
    [...graph.nodes.keys()].map((index) => columns.get(index) ?? 0),
  );
  const all = [...before.bands, ...added.filter((band) => !before.bands.includes(band))];
  const bands = all.filter((band) => used.has(band)).sort((a, b) => Number(b === '') - Number(a === ''));
  return { bands, rows: new Map(bands.map((band) => [band, rows.get(band) ?? 1])), byBox, pairs: before.pairs };
}

function seatKey({ band, column, row }: Seat): string {
  return `${column} ${row} ${band}`;
}

function freeRow(seats: Iterable<Seat>, band: string, column: number): number {
  const taken = new Set<number>();
  for (const seat of seats) if (seat.band === band && seat.column === column) taken.add(seat.row);
  let row = 0;
  while (taken.has(row)) row++;
  return row;
}

function draw({ nodes, asked, isHub }: Graph, seats: Seats, isNew: boolean): Layout {
  const bands: Band[] = [];
  const tops = new Map<string, number>();
  let y = 0;
  for (const id of seats.bands) {
    const height = HEAD + (seats.rows.get(id) ?? 1) * ROW + FOOT;
    bands.push({ id, y, height });
    tops.set(id, y + HEAD);
    y += height + BETWEEN;
  }
  const spots = new Map<string, Spot>();
  for (const [index, { id }] of nodes.entries()) {
    const seat = seats.byBox.get(id);
    if (seat === undefined) continue;
    spots.set(id, {
      x: MARGIN + BOX.width / 2 + seat.column * COLUMN,
      y: (tops.get(seat.band) ?? 0) + (seat.row + 0.5) * ROW,
      column: seat.column,
      isHub: isHub[index] ?? false,
    });
  }
  const last = Math.max(0, ...[...spots.values()].map(({ column }) => column));
  const isLooped = nodes.some(({ id }, index) => spots.get(id)?.column === last && (asked[index]?.length ?? 0) > 0);
  const width = MARGIN + last * COLUMN + BOX.width + (isLooped ? LOOP : MARGIN);
  return { spots, bands, width, height: Math.max(0, y - BETWEEN), seats, isNew };
}
