import type { Counter } from '#core/counter.ts';
import { deviceName } from '#core/device_name.ts';
import type { Malformed } from '../errors.ts';
import { shown, wholeLines } from './lines.ts';
import { parseCounter } from './number.ts';

/** Columns of net/dev in order: eight for received packets, followed by eight for sent packets. */
export const NET_DEV_COLUMNS = [
  'receivedBytes',
  'receivedPackets',
  'receivedErrors',
  'receivedDrops',
  'receivedFifo',
  'receivedFrame',
  'receivedCompressed',
  'receivedMulticast',
  'sentBytes',
  'sentPackets',
  'sentErrors',
  'sentDrops',
  'sentFifo',
  'collisions',
  'sentCarrier',
  'sentCompressed',
] as const;

/** Columns that are exported. */
export type DeviceColumn = Exclude<(typeof NET_DEV_COLUMNS)[number], 'receivedCompressed' | 'sentCompressed'>;

const ASCII = /^[\x20-\x7e]*$/;
const HEADING = /^(?:Inter-| face )\|/;

export type DeviceStats = Readonly<Record<(typeof NET_DEV_COLUMNS)[number], Counter>>;

/**
 * Parses net/dev: two lines of headings, followed by lines such as `  eth0: n n n …`. Kernel: net/core/net-procfs.c,
 * dev_seq_printf_stats(). A device name may contain any byte except `/`, white space and `:`. VLAN aliases may also
 * contain colons, so the name ends at the last colon before the numbers. Skips rows in which a column is missing or
 * malformed.
 */
export function parseNetDev(text: string, malformed: Malformed): Map<string, DeviceStats> {
  const devices = new Map<string, DeviceStats>();
  for (const line of wholeLines(text, malformed)) {
    if (HEADING.test(line)) continue;
    const colon = line.lastIndexOf(':');
    const name = decodeName(line.slice(0, colon).trim());
    const stats = parseRow(line.slice(colon + 1));
    if (colon <= 0 || name === '' || stats === undefined) malformed(shown(line));
    else devices.set(name, stats);
  }
  return devices;
}

/** Decodes a name from text in which each character stands for one byte of the file. */
function decodeName(name: string): string {
  return ASCII.test(name) ? name : deviceName(Buffer.from(name, 'latin1'));
}

function parseRow(text: string): DeviceStats | undefined {
  const cells = text.trim().split(/\s+/);
  if (cells.length < NET_DEV_COLUMNS.length) return undefined;
  const stats: Partial<Record<(typeof NET_DEV_COLUMNS)[number], Counter>> = {};
  for (const [index, column] of NET_DEV_COLUMNS.entries()) {
    const value = parseCounter(cells[index] ?? '');
    if (value === undefined) return undefined;
    stats[column] = value;
  }
  return stats as DeviceStats;
}
