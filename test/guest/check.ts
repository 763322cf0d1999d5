/** Checks that belong together and share what they need: they run one after the other, in the guest. */
export interface CheckGroup {
  readonly name: string;
  readonly titles: readonly string[];
  run(report: (outcome: CheckOutcome) => void): Promise<void>;
}

export interface CheckOutcome {
  readonly group: string;
  readonly title: string;
  /** Stack of what was thrown; undefined where all was well. */
  readonly error?: string;
}

/** What the line of a check's outcome starts with; JSON follows. */
export const OUTCOME = 'check: ';
/** What the line starts with that has what `netsonde check --json` says of every probe. */
export const REPORT = 'report: ';

/** The variable that tells how many CPUs the guest was given. */
export const CPUS_GIVEN = 'NETSONDE_GUEST_CPUS';

/** @param open makes what the checks share; what it hands to the stack is released after the last one */
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
