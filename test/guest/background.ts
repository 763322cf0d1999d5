import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { TestProject } from 'vitest/node';
import { TESTED_GROUPS } from './checks/index.ts';
import { missingForGuest } from './guest.ts';
import { type KernelName, TESTED } from './kernels.ts';
import { type Checked, runChecks } from './run_checks.ts';

/**
 * Deadline of twenty minutes. A guest takes about two minutes on an idle machine, but may take much longer on a busy
 * one.
 */
export const DEADLINE_MS = 1_200_000;
const LOOK_MS = 200;

declare module 'vitest' {
  interface ProvidedContext {
    /** Directory of the results. A kernel's result file is created when its guest has exited. */
    guests: string;
  }
}

/** Boots all guests of `npm test` from vitest's main process so that they run while other projects are tested. */
export default function setup(project: TestProject): () => Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'netsonde-guests-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  project.provide('guests', folder);
  const controller = new AbortController();
  const running = TESTED.filter((kernel) => missingForGuest(kernel) === undefined).map(async (kernel) => {
    const options = { deadlineMs: DEADLINE_MS, signal: controller.signal };
    put(folder, kernel, await runChecks(kernel, TESTED_GROUPS, options));
  });
  return async () => {
    controller.abort();
    await Promise.all(running);
    remove();
  };
}

function fileOf(folder: string, kernel: KernelName): string {
  return join(folder, `${kernel}.json`);
}

function put(folder: string, kernel: KernelName, { outcomes, ...rest }: Checked): void {
  const file = fileOf(folder, kernel);
  writeFileSync(`${file}.new`, JSON.stringify({ ...rest, outcomes: [...outcomes] }));
  renameSync(`${file}.new`, file);
}

/** Waits until the guest with this kernel has exited, and returns its results. */
export async function collect(folder: string, kernel: KernelName): Promise<Checked> {
  const file = fileOf(folder, kernel);
  while (!existsSync(file)) await wait(LOOK_MS);
  const { outcomes, ...rest } = JSON.parse(readFileSync(file, 'utf8'));
  return { ...rest, outcomes: new Map(outcomes) };
}
