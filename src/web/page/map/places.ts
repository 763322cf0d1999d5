import { COLUMNS_MAX } from './columns.ts';
import type { Seat, Seats } from './layout.ts';

/** Time in milliseconds for which the position of a box stays reserved after the box has disappeared. */
const FREE_MS = 600_000;
const BOXES_MAX = 600;
const ROWS_MAX = 2 * BOXES_MAX;
const BANDS_MAX = 200;
const PAIRS_MAX = BOXES_MAX ** 2;

/** A box of an earlier picture. */
export interface Remembered extends Seat {
  readonly id: string;
  readonly title: string;
  /** Time at which the box was last on the map, in milliseconds since the epoch according to the node's clock. */
  readonly seenMs: number;
}

interface Saved {
  readonly bands: readonly string[];
  readonly rows: readonly (readonly [string, number])[];
  readonly boxes: readonly Remembered[];
  /** See {@link Seats}. */
  readonly pairs: number;
}

const NOTHING: Saved = { bands: [], rows: [], boxes: [], pairs: 0 };

/** Remembers the positions of boxes in the browser, for each node and level of detail. */
export class Places {
  readonly #key: string;
  readonly #storage: Storage | undefined;
  #saved: Saved;

  /** @param storage undefined if the browser denies access to it */
  constructor(node: string, level: string, storage: Storage | undefined) {
    this.#key = `netsonde-map ${level} ${node}`;
    this.#storage = storage;
    this.#saved = read(storage, this.#key);
  }

  get boxes(): readonly Remembered[] {
    return this.#saved.boxes;
  }

  /**
   * Returns the positions to keep: those of the boxes in the picture, and those of boxes that disappeared less than ten
   * minutes ago.
   * @param present IDs of the boxes in the picture
   * @param hidden IDs of boxes that exist, but are not in this picture
   */
  seats(present: ReadonlySet<string>, hidden: ReadonlySet<string>, nowMs: number): Seats {
    const isKept = ({ id, seenMs }: Remembered) => present.has(id) || (!hidden.has(id) && nowMs - seenMs < FREE_MS);
    const byBox = new Map(
      this.#saved.boxes.filter(isKept).map(({ id, band, column, row }) => [id, { band, column, row }]),
    );
    const { bands, rows, pairs } = this.#saved;
    return { bands, rows: new Map(rows), byBox, pairs };
  }

  /** @param titles titles of the boxes in the picture */
  remember(seats: Seats, titles: ReadonlyMap<string, string>, nowMs: number): void {
    const before = new Map(this.#saved.boxes.map((box) => [box.id, box]));
    for (const [id, seat] of seats.byBox) {
      const title = titles.get(id);
      if (title !== undefined) before.set(id, { ...seat, id, title, seenMs: nowMs });
    }
    const boxes = [...before.values()].sort((a, b) => b.seenMs - a.seenMs).slice(0, BOXES_MAX);
    const rows = [...seats.rows].slice(0, BANDS_MAX);
    this.#saved = { bands: seats.bands.slice(0, BANDS_MAX), rows, boxes, pairs: seats.pairs };
    this.#write();
  }

  forget(): void {
    this.#saved = NOTHING;
    this.#write();
  }

  #write(): void {
    try {
      this.#storage?.setItem(this.#key, JSON.stringify(this.#saved));
    } catch {
      // If the storage is full or access is denied, positions are remembered only while the page is open.
    }
  }
}

/** Returns the storage of the browser; undefined if access is denied. */
export function browserStorage(): Storage | undefined {
  try {
    return localStorage;
  } catch {
    return undefined;
  }
}

function read(storage: Storage | undefined, key: string): Saved {
  try {
    const { bands, rows, boxes, pairs } = JSON.parse(storage?.getItem(key) ?? 'null') as Saved;
    const isRow = ([band, count]: readonly unknown[]) => typeof band === 'string' && isWhole(count, ROWS_MAX);
    if (!bands.every((band) => typeof band === 'string') || !rows.every(isRow) || !boxes.every(isBox)) return NOTHING;
    if (!isWhole(pairs, PAIRS_MAX)) return NOTHING;
    const kept = { bands: bands.slice(0, BANDS_MAX), rows: rows.slice(0, BANDS_MAX), boxes: boxes.slice(0, BOXES_MAX) };
    return { ...kept, pairs };
  } catch {
    return NOTHING;
  }
}

function isWhole(value: unknown, most: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most;
}

function isBox({ id, title, band, column, row, seenMs }: Remembered): boolean {
  const isText = [id, title, band].every((text) => typeof text === 'string');
  return isText && isWhole(column, COLUMNS_MAX) && isWhole(row, ROWS_MAX) && Number.isFinite(seenMs);
}
