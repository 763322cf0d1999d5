/** Checks that share resources. They run one after the other in the guest. */
export interface CheckGroup {
  readonly name: string;
  readonly titles: readonly string[];
  run(report: (outcome: CheckOutcome) => void): Promise<void>;
}

export interface CheckOutcome {
  readonly group: string;
  readonly title: string;
  /** Stack trace of the error; undefined if the check passed. */
  readonly error?: string;
}

/** Prefix of an output line with a check's result as JSON. */
export const OUTCOME = 'check: ';
/** Prefix of the output line with the report of `netsonde check --json`. */
export const REPORT = 'report: ';

/** Name of the environment variable with the guest's number of CPUs. */
export const CPUS_GIVEN = 'NETSONDE_GUEST_CPUS';

/** @param open creates the resources that the checks share. Resources on the stack are released after the last check. */
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
        const outcome = 'error' in opened ? opened : await attempt(() => check(opened.value));
        report({ group: name, title, ...('error' in outcome ? outcome : {}) });
      }
    },
  };
}

async function attempt<T>(what: () => Promise<T>): Promise<{ value: T } | { error: string }> {
  try {
    return { value: await what() };
  } catch (error) {
    return { error: error instanceof Error ? `${error.stack}` : String(error) };
  }
}
