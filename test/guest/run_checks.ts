import type { CheckReport } from '#commands/check.ts';
import { type CheckGroup, type CheckOutcome, OUTCOME, REPORT } from './check.ts';
import { type GuestOptions, runInGuest } from './guest.ts';
import type { KernelName } from './kernels.ts';

/** Results of all checks on one kernel. */
export interface Checked {
  /** By group and title: `agent: …`. */
  readonly outcomes: ReadonlyMap<string, CheckOutcome>;
  /** Report of `netsonde check` there; undefined where the guest did not get that far. */
  readonly report: CheckReport | undefined;
  /** Other output of the guest. */
  readonly printed: readonly string[];
  /** Undefined where the guest ended cleanly. */
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
  // Leaves out V8's second compiler for WebAssembly, which strips types: under emulation it fails a check of its own in one start of five.
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
