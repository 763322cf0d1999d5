import type { CheckReport } from '#commands/check.ts';
import { type CheckGroup, type CheckOutcome, OUTCOME, REPORT } from './check.ts';
import { type GuestOptions, runInGuest } from './guest.ts';
import type { KernelName } from './kernels.ts';

/** What came of all checks on one kernel. */
export interface Checked {
  /** By group and title: `agent: …`. */
  readonly outcomes: ReadonlyMap<string, CheckOutcome>;
  /** What `netsonde check` found there; undefined where it did not come to that. */
  readonly report: CheckReport | undefined;
  /** What the guest printed beside outcomes. */
  readonly printed: readonly string[];
  /** Undefined where it ended as it should. */
  readonly failure: string | undefined;
}

/** Boots a kernel and runs checks there: one boot for all. */
export async function runChecks(
  kernel: KernelName,
  groups: readonly CheckGroup[],
  options: Pick<GuestOptions, 'deadlineMs' | 'signal' | 'cpus'>,
): Promise<Checked> {
  const outcomes = new Map<string, CheckOutcome>();
  const printed: string[] = [];
  let report: CheckReport | undefined;
  const line = (text: string) => {
    if (text.startsWith(OUTCOME)) {
      const outcome = JSON.parse(text.slice(OUTCOME.length)) as CheckOutcome;
      outcomes.set(`${outcome.group}: ${outcome.title}`, outcome);
    } else if (text.startsWith(REPORT)) {
      report = JSON.parse(text.slice(REPORT.length)) as CheckReport;
    } else {
      printed.push(text);
    }
  };
  // Without its second compiler for WebAssembly, which strips types: that one fails a check of its own under emulation, one start in five.
  const command = ['node', '--liftoff-only', 'test/guest/inside.ts', ...groups.map(({ name }) => name)];
  let failure: string | undefined;
  try {
    const status = await runInGuest(kernel, { ...options, command, line });
    if (status !== 0) failure = `the guest ended with status ${status}`;
  } catch (error) {
    failure = (error as Error).message;
  }
  return { outcomes, report, printed, failure };
}
