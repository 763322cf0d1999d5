import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Files } from '#files/files.ts';
import type { StepOptions } from '#files/gate.ts';
import { makeLines, messages } from '../../test/support/event_lines.ts';
import { eventually } from '../../test/support/oracle.ts';
import { SpoolAccount, written } from '../../test/support/spool_account.ts';

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'hang-'));
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A disk that can be stopped. Operations that were pending finish when the disk continues. */
class StoppableDisk extends Files {
  #stopped: PromiseWithResolvers<void> | undefined;
  #passing = 0;
  /** Number of operations in progress. */
  running = 0;

  /** Stops the disk. @param passing number of operations that still succeed */
  stop(passing = 0): void {
    this.#stopped = Promise.withResolvers();
    this.#passing = passing;
  }

  goOn(): void {
    this.#stopped?.resolve();
    this.#stopped = undefined;
  }

  override run<T>(path: string, work: (signal: AbortSignal) => Promise<T>, options?: StepOptions): Promise<T> {
    this.running++;
    return super
      .run(
        path,
        async (signal) => {
          if (this.#passing > 0) this.#passing--;
          else await this.#stopped?.promise;
          return work(signal);
        },
        options,
      )
      .finally(() => this.running--);
  }
}

it.each([
  ['a step', 0],
  ['a write', 1],
])(
  'continues in memory while the disk hangs in %s, and on the disk once it recovers, each record once',
  async (_, passing) => {
    const files = new StoppableDisk({ deadlineMs: 300 });
    const account = await SpoolAccount.open(directory, { files });
    account.push(makeLines(10));
    await written(directory, 10);
    // The first write must have finished, because it could otherwise include the second batch.
    await eventually(() => expect(files.running).toBe(0));
    files.stop(passing);
    account.push(makeLines(10, {}, 10));
    await eventually(() => expect(account.spool.failure).toContain('does not respond'));
    // Records on the stopped disk remain in the spool.
    await eventually(async () => {
      await account.deliver();
      expect(account.spool.length).toBe(10);
    });
    files.goOn();
    await eventually(() => expect(account.spool.failure).toBe(''));
    account.push(makeLines(5, {}, 20));
    await account.drain();
    expect(messages(account.delivered).sort()).toEqual(messages(makeLines(25)).sort());
    await account.spool.close();
    const next = await SpoolAccount.open(directory);
    expect(next.spool.length).toBe(0);
    await next.spool.close();
  },
);

it('holds up nobody while the disk hangs, however often records are taken', async () => {
  const files = new StoppableDisk({ deadlineMs: 300 });
  const account = await SpoolAccount.open(directory, { files });
  account.push(makeLines(10));
  await written(directory, 10);
  files.stop();
  await eventually(async () => {
    await account.deliver();
    expect(account.spool.failure).toContain('does not respond');
  });
  let hasRun = false;
  setTimeout(() => {
    hasRun = true;
  }, 0);
  for (let takes = 0; takes < 10_000 && !hasRun; takes++) await account.deliver();
  expect([hasRun, account.spool.length]).toEqual([true, 10]);
  files.goOn();
  await account.drain();
  await account.spool.close();
});

it('ends although the disk hangs, and counts the records that were not written', async () => {
  const files = new StoppableDisk({ deadlineMs: 60_000 });
  const account = await SpoolAccount.open(directory, { files });
  account.push(makeLines(10));
  await written(directory, 10);
  files.stop();
  account.push(makeLines(6, {}, 10));
  await account.spool.close(20);
  account.check();
  expect(account.dropped).toEqual({ 'packetloss shutdown': 6 });
  expect(account.spool.length).toBe(10);
  files.goOn();
  // The lock is released when the disk continues.
  await eventually(async () => {
    const next = await SpoolAccount.open(directory);
    await next.spool.close();
    expect(next.spool.failure).toBe('');
  });
});
