/** Checks that share resources. They run one after the other in the guest. */
export interface CheckGroup {
  readonly name: string;
  readonly titles: readonly string[];
  run(report: (outcome: CheckOutcome) => void): Promise<void>;
}

export interface CheckOutcome {
  readonly group: string;
  readonly title: string;
  /** Stack trace of the error; undefined if the check passed or does not apply. */
  readonly error?: string;
  /** Feature that the check needs and this kernel lacks; undefined if the check applies. */
  readonly lacks?: string;
}

/**
 * Thrown by a check that needs something that this kernel lacks. The check must first have asserted that the kernel
 * lacks it and, if a probe depends on it, that the probe reports so.
 */
export class Inapplicable extends Error {}

/** Prefix of an output line that contains a check's result as JSON. */
export const OUTCOME = 'check: ';
/** Prefix of the output line that contains the report of `netsonde check --json`. */
export const REPORT = 'report: ';
/** Prefix of the output line that contains how each object was loaded, as JSON. */
export const LOADS = 'loads: ';

/** Name of the environment variable that contains the guest's number of CPUs. */
export const CPUS_GIVEN = 'NETSONDE_GUEST_CPUS';

/** @param open creates the resources that the checks share. The stack's resources are released after the last check. */
export function defineChecks<Context>(
  name: string,
  open: (resources: AsyncDisposableStack) => Promise<Context>,
  checks: Readonly<Record<string, (context: Context) => Promise<void>>>,
): CheckGroup {
  return {
    name,
    titles: Object.keys(checks),
    run: async (report) => {
      await using resources = new AsyncDisposableStack();
      const opened = await attempt(() => open(resources));
      for (const [title, check] of Object.entries(checks)) {
        const outcome = 'value' in opened ? await attempt(() => check(opened.value)) : opened;
        report({ group: name, title, ...('value' in outcome ? {} : outcome) });
      }
    },
  };
}

async function attempt<T>(what: () => Promise<T>): Promise<{ value: T } | { error: string } | { lacks: string }> {
  try {
    return { value: await what() };
  } catch (error) {
    if (error instanceof Inapplicable) return { lacks: error.message };
    return { error: error instanceof Error ? `${error.stack}` : String(error) };
  }
}
