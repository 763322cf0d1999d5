import { writeFileSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

/** Environment variable with the path of a file. The counts are written to that file as JSON. */
export const COUNTS_FILE = 'NETSONDE_TEST_COUNTS';

export interface Counts {
  readonly passed: number;
  readonly failed: number;
}

export function lineOf({ passed, failed }: Counts): string {
  return `${passed} passed, ${failed} failed`;
}

const SLOWEST = 10;
/**
 * Maximum number of skipped tests to list. If more tests were skipped, they were excluded by a filter on the command
 * line.
 */
const SKIPPED_MAX = 100;

/**
 * Prints the tests that needed a second run, the slowest files, and `N passed, N failed` as the last line, which
 * scripts can parse.
 */
export default class SummaryReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    let failed = unhandledErrors.length;
    const skipped: string[] = [];
    const flaky: string[] = [];
    for (const module of modules) {
      failed += module.errors().length;
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (test.diagnostic()?.flaky === true)
          flaky.push(`passed in a second run: ${module.relativeModuleId} > ${test.fullName}`);
        if (state === 'passed') passed++;
        else if (state === 'failed') failed++;
        else skipped.push(`skipped: ${module.relativeModuleId} > ${test.fullName}`);
      }
    }
    const isWhole = skipped.length <= SKIPPED_MAX;
    const lines = [...(isWhole ? skipped : []), ...flaky, ...slowestFiles(modules), lineOf({ passed, failed })];
    const file = process.env[COUNTS_FILE];
    if (file !== undefined) writeFileSync(file, JSON.stringify({ passed, failed }));
    // The exit handler runs after all other reporters have finished their output.
    process.once('exit', () => process.stdout.write(`${lines.join('\n')}\n`));
  }
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
