/** Checks that belong together and share resources: they run one after the other, in the guest. */
export interface CheckGroup {
  readonly name: string;
  readonly titles: readonly string[];
  run(report: (outcome: CheckOutcome) => void): Promise<void>;
}

export interface CheckOutcome {
  readonly group: string;
  readonly title: string;
  /** Stack of the error; undefined where the check passed. */
  readonly error?: string;
}

/** Prefix of the line with a check's outcome; JSON follows. */
export const OUTCOME = 'check: ';
/** Prefix of the line with the output of `netsonde check --json`. */
export const REPORT = 'report: ';

/** Name of the variable with the number of CPUs that the guest was given. */
export const CPUS_GIVEN = 'NETSONDE_GUEST_CPUS';

/** @param open makes the resources that the checks share; those on the stack are released after the last check */
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
