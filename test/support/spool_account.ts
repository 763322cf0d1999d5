import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import { Ledger } from '#delivery/ledger.ts';
import type { LaneRecord } from '#delivery/record.ts';
import { Spool, type SpoolOptions } from '#delivery/spool.ts';
import { RECORD_KINDS } from '#events/kinds.ts';
import { Files } from '#files/files.ts';
import { eventually } from './oracle.ts';

export const MEBIBYTE = 1024 * 1024;
const BATCH = { records: 7, bytes: MEBIBYTE };
const SINK = { name: 'sink', kinds: new Set(['event']) };

/** A spool, its ledger, and the records that were pushed into the spool. */
export class SpoolAccount {
  readonly ledger = new Ledger();
  readonly logged: string[] = [];
  readonly delivered: LaneRecord[] = [];
  readonly spool: Spool;

  private constructor(spool: (account: SpoolAccount) => Spool) {
    this.spool = spool(this);
  }

  static async open(directory: string, more: Partial<SpoolOptions> = {}): Promise<SpoolAccount> {
    const account = new SpoolAccount(() => undefined as never);
    const spool = await Spool.open({
      directory,
      size: 64 * MEBIBYTE,
      memory: { records: 10_000, bytes: 16 * MEBIBYTE },
      kinds: RECORD_KINDS,
      files: new Files(),
      dropped: (source, reason, count) => account.ledger.dropped(source, 'sink', reason, count),
      recovered: (source, count) => account.ledger.recovered(source, 'sink', count),
      log: (level, message) => account.logged.push(`${level}: ${message}`),
      ...more,
    });
    return Object.assign(account, { spool });
  }

  push(records: readonly LaneRecord[]): void {
    for (const record of records) this.ledger.accepted(record, 'sink');
    this.spool.push(records);
  }

  async deliver(): Promise<number> {
    const batch = await this.spool.take(BATCH);
    for (const record of batch) this.ledger.delivered(record, 'sink');
    this.delivered.push(...batch);
    this.spool.settle([]);
    this.check();
    return batch.length;
  }

  /** Delivers all records in the spool. @returns the number of `take` calls */
  async drain(): Promise<number> {
    for (let takes = 0; ; takes++) {
      if (this.spool.length === 0) return takes;
      // On a busy machine, a take may time out, so it is retried.
      if ((await this.deliver()) === 0) await wait(5);
    }
  }

  /**
   * Checks that the records that the ledger counts as pending are those in the spool, and that no count is negative.
   */
  check(): void {
    const { length, bytes } = this.spool;
    const pending = this.ledger.rows([SINK]).map((row) => row.pending);
    expect(Math.min(length, bytes, ...pending)).toBeGreaterThanOrEqual(0);
    expect(pending.reduce((sum, count) => sum + count, 0)).toBe(length);
  }

  get dropped(): Record<string, number> {
    return Object.fromEntries(
      this.ledger
        .rows([SINK])
        .flatMap(({ probe, dropped }) => [...dropped].map(([reason, count]) => [`${probe} ${reason}`, count])),
    );
  }
}

export function segmentsIn(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.endsWith('.jsonl'));
}

/** Resolves when this number of records is on disk. */
export async function written(directory: string, count: number): Promise<void> {
  await eventually(() => {
    const files = segmentsIn(directory).map((name) => readFileSync(join(directory, name), 'latin1'));
    const lines = files.flatMap((text) => text.match(/\n/g) ?? []);
    expect(lines.length).toBeGreaterThanOrEqual(count);
  });
}
