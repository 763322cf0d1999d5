import { textOf } from './api_values.ts';
import type { Shape } from './json_prune.ts';
import type { ListForm } from './json_stream.ts';

/** Columns of a table to request, and the part of the object that the server sends in addition to the cells. */
export interface Table {
  /** Names of the columns, such as `IP`. The server prints them for `kubectl get -o wide`. */
  readonly columns: readonly string[];
  /** With `None`, the rows contain only cells, and the name of each row serves as its UID. */
  readonly object: 'Metadata' | 'None';
}

/** A row of a table. */
export interface Row<Metadata> {
  readonly metadata: Metadata;
  /** Cells by column. Absent if the table has no such column or the cell is not text. */
  readonly cells: Readonly<Record<string, string | undefined>>;
}

/** Parts of an object to parse. */
export interface Kept {
  readonly metadata: Shape;
  readonly [key: string]: Shape;
}

/** Format in which the server sends objects. */
export interface Form extends ListForm {
  /** Media type to request; undefined for plain objects. */
  readonly accept: string | undefined;
  readonly query: Readonly<Record<string, string>>;
  /** Parts to keep of the object in a watch event. */
  readonly eventShape: { readonly [key: string]: Shape };
  /** Returns the object that an item of a list represents. */
  objectIn(item: unknown): unknown;
  /** Returns the objects that the object of a watch event represents. */
  objectsIn(object: unknown): readonly unknown[];
}

export function formOf(keep: Kept, table: Table | undefined): Form {
  return table === undefined ? new PlainForm(keep) : new TableForm(keep, table);
}

class PlainForm implements Form {
  readonly accept = undefined;
  readonly query = {};
  readonly key = 'items';
  readonly shape: Kept;

  constructor(keep: Kept) {
    this.shape = keep;
  }

  get eventShape(): Kept {
    return this.shape;
  }

  objectIn(item: unknown): unknown {
    return item;
  }

  objectsIn(object: unknown): readonly unknown[] {
    return [object];
  }
}

interface TablePart {
  readonly columnDefinitions?: readonly { readonly name?: unknown }[] | null;
  readonly rows?: readonly TableRow[] | null;
}

interface TableRow {
  readonly cells?: readonly unknown[];
  readonly object?: { readonly metadata?: unknown } | null;
}

const TABLE = 'application/json;as=Table;g=meta.k8s.io;v=v1';
const NAME = 'Name';

/**
 * Reads tables, which contain the columns that `kubectl` prints instead of whole objects
 * (https://kubernetes.io/docs/reference/using-api/api-concepts/#receiving-resources-as-tables).
 */
class TableForm implements Form {
  readonly accept = TABLE;
  readonly query: Readonly<Record<string, string>>;
  readonly key = 'rows';
  readonly shape: Shape;
  readonly eventShape: { readonly [key: string]: Shape };
  readonly #columns: readonly string[];
  /**
   * Position of each column. In a stream, only the first event contains column definitions. Until it arrives, the
   * definitions of the list apply.
   */
  #positions = new Map<string, number>();

  constructor({ metadata }: Kept, { columns, object }: Table) {
    this.#columns = columns;
    this.query = { includeObject: object };
    this.shape = { cells: true, object: { metadata } };
    this.eventShape = { metadata: { resourceVersion: true }, columnDefinitions: { name: true }, rows: this.shape };
  }

  begin(head: unknown): void {
    this.#learn(head as TablePart);
  }

  objectIn(item: unknown): unknown {
    const { cells = [], object } = item as TableRow;
    const cell = (name: string) => textOf(cells[this.#positions.get(name) ?? -1]);
    const name = cell(NAME) ?? '';
    const row: Row<unknown> = {
      metadata: object?.metadata ?? { uid: name, name },
      cells: Object.fromEntries(this.#columns.map((column) => [column, cell(column)])),
    };
    return row;
  }

  objectsIn(object: unknown): readonly unknown[] {
    const part = (object ?? {}) as TablePart;
    this.#learn(part);
    return (part.rows ?? []).map((row) => this.objectIn(row));
  }

  #learn({ columnDefinitions }: TablePart): void {
    if (!Array.isArray(columnDefinitions) || columnDefinitions.length === 0) return;
    const names = columnDefinitions.map(({ name }) => name);
    this.#positions = new Map([NAME, ...this.#columns].map((column) => [column, names.indexOf(column)]));
  }
}
