import { spawn } from 'node:child_process';
import { mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lineOf, OUTCOME_FILE, type Outcome } from './support/summary_reporter.ts';

/**
 * Runs all tests. The unit tests are limited only by CPU time, and the other tests spend most of their time waiting.
 * Both therefore run at the same time, with a low priority for the unit tests, whose output is printed last. The
 * failures of both are listed again at the end. All arguments are passed to Vitest.
 */
const VITEST = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url));
const PROJECTS = ['addon', 'kernel', 'e2e', 'alone', 'guest'];
const LOW_PRIORITY = ['nice', '-n', '10'];

/** Arguments for both runs. A file name in a filter matches in only one of them, so the other one may have no tests. */
const given = process.argv.length > 2 ? ['--passWithNoTests', ...process.argv.slice(2)] : [];

const folder = mkdtempSync(join(tmpdir(), 'netsonde-tests-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const log = join(folder, 'unit.log');

/** Runs projects, and returns the exit status and the outcome, which is empty if Vitest failed to run them. */
async function run(
  projects: readonly string[],
  wrapper: readonly string[],
  output: 'inherit' | number,
): Promise<{ readonly status: number; readonly outcome: Outcome }> {
  const file = join(folder, projects.join());
  const args = [VITEST, 'run', ...projects.flatMap((name) => ['--project', name]), ...given];
  const [command = '', ...rest] = [...wrapper, process.execPath, ...args];
  const child = spawn(command, rest, {
    env: { ...process.env, [OUTCOME_FILE]: file },
    stdio: ['ignore', output, output],
  });
  const forward = () => child.kill();
  process.once('SIGTERM', forward);
  const status = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
  });
  process.off('SIGTERM', forward);
  return { status, outcome: outcomeIn(file) };
}

function outcomeIn(file: string): Outcome {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Outcome;
  } catch {
    return { passed: 0, failed: 0, failures: [] };
  }
}

// A terminal sends this signal to both runs as well, and they then end by themselves.
process.on('SIGINT', () => undefined);
const [others, unit] = await Promise.all([
  run(PROJECTS, [], 'inherit'),
  run(['unit'], LOW_PRIORITY, openSync(log, 'w')),
]);
process.stdout.write(readFileSync(log));
const outcomes = [others.outcome, unit.outcome];
const sum = (of: 'passed' | 'failed') => outcomes.reduce((total, outcome) => total + outcome[of], 0);
const lines = [
  ...outcomes.flatMap(({ failures }) => failures),
  lineOf({ passed: sum('passed'), failed: sum('failed') }),
];
process.stdout.write(`${lines.join('\n')}\n`);
process.exitCode = others.status || unit.status;
