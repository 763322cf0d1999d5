import type { Malformed } from '../errors.ts';
import { shown, wholeLines } from './lines.ts';
import { parseHex } from './number.ts';

/** Packets received by one CPU. The counters have 32 bits and wrap around. */
export interface SoftnetCpu {
  readonly cpu: number;
  readonly processed: number;
  readonly dropped: number;
  readonly timeSqueezed: number;
  /** Inter-processor interrupts received for RPS. */
  readonly receivedRps: number | undefined;
  readonly flowLimitReached: number | undefined;
  /** Number of packets that are currently queued; undefined if the kernel does not have this column. */
  readonly backlogLength: number | undefined;
}

const RECEIVED_RPS = 9;
const FLOW_LIMIT = 10;
const BACKLOG = 11;
const CPU = 12;

/**
 * Parses net/softnet_stat, which has a line of hexadecimal columns for each online CPU. Kernel: net/core/net-procfs.c,
 * softnet_seq_show(). On newer kernels, one of the columns is the CPU number. On older kernels, the lines are in the
 * order of `onlineCpus`.
 */
export function parseSoftnetStat(text: string, onlineCpus: readonly number[], malformed: Malformed): SoftnetCpu[] {
  const rows: SoftnetCpu[] = [];
  let line = -1;
  for (const row of wholeLines(text, malformed)) {
    line++;
    const cells = row.trim().split(/\s+/);
    const column = (index: number) => parseHex(cells[index] ?? '');
    const [processed, dropped, timeSqueezed] = [column(0), column(1), column(2)];
    const cpu = cells.length > CPU ? column(CPU) : onlineCpus[line];
    if (processed === undefined || dropped === undefined || timeSqueezed === undefined || cpu === undefined) {
      malformed(shown(row));
      continue;
    }
    rows.push({
      cpu,
      processed,
      dropped,
      timeSqueezed,
      receivedRps: column(RECEIVED_RPS),
      flowLimitReached: column(FLOW_LIMIT),
      backlogLength: column(BACKLOG),
    });
  }
  return rows;
}
