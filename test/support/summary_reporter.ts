import { writeFileSync } from 'node:fs';
import { stripVTControlCharacters } from 'node:util';
import type { Reporter, TestModule } from 'vitest/node';

/** Environment variable with the path of a file. The counts and failures are written to that file as JSON. */
export const OUTCOME_FILE = 'NETSONDE_TEST_OUTCOME';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

export interface Outcome extends Counts {
  /** One line for each failure, such as `failed: kernel  test/kernel/io.test.ts > counts bytes: expected 1 to be 2`. */
  readonly failures: readonly string[];
}

export function lineOf({ passed, failed }: Counts): string {
  return `${passed} passed, ${failed} failed`;
}

const SLOWEST = 10;
/** Maximum number of changed lines to print for each failure. */
const DIFFERENCES_MAX = 8;
/**
 * Maximum number of skipped tests to list. If more tests were skipped, they were excluded by a filter on the command
 * line.
 */
const SKIPPED_MAX = 100;

/**
 * Prints the tests that needed another run, the slowest files, the failures, and `N passed, N failed` as the last
 * line, which scripts can parse.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    const failures = unhandledErrors.map((error) => `failed: ${describe([error])}`);
    const skipped: string[] = [];
    const flaky: string[] = [];
    for (const module of modules) {
      const place = `${module.project.name}  ${module.relativeModuleId}`;
      failures.push(...module.errors().map((error) => `failed: ${place}: ${describe([error])}`));
      for (const test of module.children.allTests()) {
        const { state, errors } = test.result();
        if (test.diagnostic()?.flaky === true)
          flaky.push(`passed in another run: ${module.relativeModuleId} > ${test.fullName}: ${describe(errors)}`);
        if (state === 'passed') passed++;
        else if (state === 'failed') failures.push(`failed: ${place} > ${test.fullName}: ${describe(errors)}`);
        else skipped.push(`skipped: ${module.relativeModuleId} > ${test.fullName}`);
      }
    }
    const isWhole = skipped.length <= SKIPPED_MAX;
    const outcome: Outcome = { passed, failed: failures.length, failures };
    const lines = [...(isWhole ? skipped : []), ...flaky, ...slowestFiles(modules), ...failures, lineOf(outcome)];
    const file = process.env[OUTCOME_FILE];
    if (file !== undefined) writeFileSync(file, JSON.stringify(outcome));
    // The exit handler runs after all other reporters have finished their output.
    process.once('exit', () => process.stdout.write(`${lines.join('\n')}\n`));
  }
}

/**
 * Returns the first line of the message of the last error, which is that of the last failed run of a repeated test, and
 * the first differences between what the test expected and what it received.
 */
function describe(errors: readonly unknown[] | undefined): string {
  const last = errors?.at(-1);
  if (!(last instanceof Object && 'message' in last)) return String(last);
  const [message = ''] = String(last.message).split('\n', 1);
  const diff = 'diff' in last ? stripVTControlCharacters(String(last.diff)).split('\n') : [];
  const changes = diff
    .filter((line) => /^[-+] (?!Expected|Received)/.test(line))
    .map((line) => line.replace(/ +/, ' '));
  return [message, ...changes.slice(0, DIFFERENCES_MAX)].join(' | ');
}

/**
 * Returns lines such as `  12.3 s  kernel  test/kernel/io.test.ts`, slowest first. The times include imports and hooks.
 */
function slowestFiles(modules: readonly TestModule[]): string[] {
  const files = modules.map((module) => {
    const { collectDuration, duration } = module.diagnostic();
    return { ms: collectDuration + duration, name: `${module.project.name}  ${module.relativeModuleId}` };
  });
  const slowest = files.sort((a, b) => b.ms - a.ms).slice(0, SLOWEST);
  return ['The slowest files:', ...slowest.map(({ ms, name }) => `${(ms / 1_000).toFixed(1).padStart(6)} s  ${name}`)];
}
