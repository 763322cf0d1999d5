import { execFile } from 'node:child_process';
import { mkdtempDisposable } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { CheckReport } from '#commands/check.ts';
import type { LoadedFile } from '../support/every_object.ts';
import { type CheckGroup, type CheckOutcome, LOADS, OUTCOME, REPORT } from './check.ts';
import { type GuestOptions, runInGuest } from './guest.ts';
import type { KernelName } from './kernels.ts';

const CACHE = fileURLToPath(new URL('../../.cache', import.meta.url));
const STRIP_TYPES = fileURLToPath(new URL('./strip_types.ts', import.meta.url));

/** Results of all checks on one kernel. */
export interface Checked {
  /** Results by group and title, such as `agent: …`. */
  readonly outcomes: ReadonlyMap<string, CheckOutcome>;
  /** Report of `netsonde check` in the guest; undefined if the guest exited before it was printed. */
  readonly report: CheckReport | undefined;
  /** How each object was loaded; empty if the group `loads` was not run. */
  readonly loads: readonly LoadedFile[];
  /** All other output of the guest. */
  readonly printed: readonly string[];
  /** Reason why the guest failed; undefined if it exited cleanly. */
  readonly failure: string | undefined;
}

/** Boots a kernel once, and runs all given checks in the guest. */
export async function runChecks(
  kernel: KernelName,
  groups: readonly CheckGroup[],
  options: Pick<GuestOptions, 'deadlineMs' | 'signal' | 'cpus'>,
): Promise<Checked> {
  const outcomes = new Map<string, CheckOutcome>();
  const printed: string[] = [];
  let report: CheckReport | undefined;
  let loads: readonly LoadedFile[] = [];
  const line = (text: string) => {
    if (text.startsWith(OUTCOME)) {
      const outcome = JSON.parse(text.slice(OUTCOME.length)) as CheckOutcome;
      outcomes.set(`${outcome.group}: ${outcome.title}`, outcome);
    } else if (text.startsWith(REPORT)) {
      report = JSON.parse(text.slice(REPORT.length)) as CheckReport;
    } else if (text.startsWith(LOADS)) {
      loads = JSON.parse(text.slice(LOADS.length)) as LoadedFile[];
    } else {
      printed.push(text);
    }
  };
  // A guest of another architecture sees no directory of the host but the project's.
  await using copies = await mkdtempDisposable(join(CACHE, 'copies-'));
  let failure: string | undefined;
  try {
    // Node.js strips types with WebAssembly, which takes ten seconds of CPU time under emulation. V8's optimizing
    // WebAssembly compiler even aborts in one of five starts there, so it is disabled for modules that have no
    // JavaScript copy.
    const strip = ['--disable-warning=ExperimentalWarning', STRIP_TYPES, copies.path];
    await promisify(execFile)(process.execPath, strip);
    const names = groups.map(({ name }) => name);
    const flags = ['--liftoff-only', `--import=${join(copies.path, 'loader.mjs')}`];
    const command = ['node', ...flags, 'test/guest/inside.ts', ...names];
    const status = await runInGuest(kernel, { ...options, command, line });
    if (status !== 0) failure = `the guest ended with status ${status}`;
  } catch (error) {
    failure = (error as Error).message;
  }
  return { outcomes, report, loads, printed, failure };
}
