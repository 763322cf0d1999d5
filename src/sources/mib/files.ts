import type { Counter } from '#core/counter.ts';
import type { Cycle } from '#core/cycle.ts';
import type { NetnsId } from '#core/netns.ts';
import type { Malformed } from '../errors.ts';
import type { NetFiles } from '../net_files.ts';
import type { NetnsEntry, NetnsIndex } from '../netns.ts';
import { parseSnmp, parseSnmp6 } from '../procfs/snmp.ts';
import type { Column, MibSnapshot } from './snapshot.ts';
import { MIB_FILES, MIB_TABLES, type MibTable } from './tables.ts';

/** Counters of one namespace, by table and field. */
export type MibRow = ReadonlyMap<MibTable, ReadonlyMap<string, Counter>>;

/** Reads the counters from the files of each namespace. This is slower than the walk, but works on every kernel. */
export class MibFiles {
  readonly #netns: NetnsIndex;
  readonly #files: NetFiles;

  constructor(netns: NetnsIndex, files: NetFiles) {
    this.#netns = netns;
    this.#files = files;
  }

  async read(tables: ReadonlySet<MibTable>, cycle: Cycle): Promise<MibSnapshot> {
    const ids: NetnsId[] = [];
    const rows: MibRow[] = [];
    for (const entry of this.#netns.snapshot()) {
      ids.push(entry.id);
      rows.push(this.#readRow(entry, tables, cycle));
      await cycle.pause();
    }
    return new FilesSnapshot(ids, rows);
  }

  /** Returns all counters of one namespace. Tables that cannot be read are absent or empty. */
  readOne(entry: NetnsEntry, cycle: Cycle): MibRow {
    return this.#readRow(entry, new Set(MIB_TABLES), cycle);
  }

  #readRow(entry: NetnsEntry, tables: ReadonlySet<MibTable>, cycle: Cycle): MibRow {
    return readRow(tables, (path, parser) => this.#files.parse(entry, path, cycle, parser));
  }
}

type Parse = <T>(path: string, parser: (text: string, malformed: Malformed) => T) => T | undefined;

function readRow(tables: ReadonlySet<MibTable>, parse: Parse): MibRow {
  const row = new Map<MibTable, ReadonlyMap<string, Counter>>();
  const wanted = (file: string) => [...tables].filter((table) => MIB_FILES[table] === file);
  for (const file of ['net/snmp', 'net/netstat']) {
    const inside = wanted(file);
    if (inside.length === 0) continue;
    const parsed = parse(file, parseSnmp);
    for (const table of inside) row.set(table, parsed?.get(table) ?? new Map());
  }
  if (wanted('net/snmp6').length > 0) {
    const parsed = parse('net/snmp6', parseSnmp6) ?? new Map();
    for (const table of wanted('net/snmp6')) row.set(table, withoutPrefix(parsed, table));
  }
  return row;
}

function withoutPrefix(counters: ReadonlyMap<string, Counter>, prefix: string): Map<string, Counter> {
  const table = new Map<string, Counter>();
  for (const [name, value] of counters) if (name.startsWith(prefix)) table.set(name.slice(prefix.length), value);
  return table;
}

class FilesSnapshot implements MibSnapshot {
  readonly ids: readonly NetnsId[];
  readonly #rows: readonly MibRow[];
  readonly #columns: { table: MibTable; field: string }[] = [];

  constructor(ids: readonly NetnsId[], rows: readonly MibRow[]) {
    this.ids = ids;
    this.#rows = rows;
  }

  has(table: MibTable): boolean {
    return this.#rows.some((row) => (row.get(table)?.size ?? 0) > 0);
  }

  column(table: MibTable, field: string): Column | undefined {
    if (!this.#rows.some((row) => row.get(table)?.has(field))) return undefined;
    this.#columns.push({ table, field });
    return (this.#columns.length - 1) as Column;
  }

  value(row: number, column: Column): Counter | undefined {
    const place = this.#columns[column];
    return place === undefined ? undefined : this.#rows[row]?.get(place.table)?.get(place.field);
  }
}
