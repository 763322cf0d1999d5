import type { Counter } from '#core/counter.ts';
import type { Malformed } from '../errors.ts';
import { shown, wholeLines } from './lines.ts';
import { parseCounter } from './number.ts';

/** Counters by protocol and field: `Tcp` → `InSegs` → 17. */
export type SnmpTables = Map<string, Map<string, Counter>>;

/**
 * Parses net/snmp and net/netstat, which consist of pairs of lines: `Tcp: names…` and `Tcp: values…`. Kernel:
 * net/ipv4/proc.c, snmp_seq_show() and netstat_seq_show().
 *
 * If the lines of a pair do not match, both are skipped because values could be assigned to the wrong names. If a
 * single value is not a number, only this value is skipped.
 */
export function parseSnmp(text: string, malformed: Malformed): SnmpTables {
  const tables: SnmpTables = new Map();
  const lines = wholeLines(text, malformed);
  for (let index = 0; index < lines.length; index++) {
    const names = splitRow(lines[index] ?? '');
    const values = splitRow(lines[index + 1] ?? '');
    if (names === undefined || values === undefined || names.prefix !== values.prefix) {
      malformed(shown(lines[index] ?? ''));
      continue;
    }
    index++;
    if (names.cells.length === values.cells.length)
      tables.set(names.prefix, pair(names.cells, values.cells, malformed));
    else malformed(`${names.cells.length} names and ${values.cells.length} values of ${shown(names.prefix)}`);
  }
  return tables;
}

function splitRow(line: string): { prefix: string; cells: string[] } | undefined {
  const colon = line.indexOf(': ');
  if (colon <= 0) return undefined;
  return { prefix: line.slice(0, colon), cells: line.slice(colon + 2).split(' ') };
}

function pair(names: readonly string[], values: readonly string[], malformed: Malformed): Map<string, Counter> {
  const table = new Map<string, Counter>();
  for (let index = 0; index < names.length; index++) {
    const value = parseCounter(values[index] ?? '');
    if (value === undefined) malformed(`${names[index]} ${shown(values[index] ?? '')}`);
    else table.set(names[index] ?? '', value);
  }
  return table;
}

/**
 * Parses net/snmp6, which has one line per counter, such as `Udp6InDatagrams<spaces>17`. Kernel: net/ipv6/proc.c,
 * snmp6_seq_show().
 */
export function parseSnmp6(text: string, malformed: Malformed): Map<string, Counter> {
  const counters = new Map<string, Counter>();
  for (const line of wholeLines(text, malformed)) {
    const [name, digits, ...rest] = line.split(/\s+/);
    const value = parseCounter(digits ?? '');
    if (name === undefined || name === '' || value === undefined || rest.join('') !== '') malformed(shown(line));
    else counters.set(name, value);
  }
  return counters;
}
