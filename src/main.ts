import { runCheck } from '#commands/check.ts';
import { runConvert } from '#commands/convert.ts';
import { runEvents } from '#commands/events.ts';
import { idle } from '#commands/idle.ts';
import { runProbes } from '#commands/probes.ts';
import { runServe } from '#commands/serve.ts';
import { USAGE } from '#commands/usage.ts';
import { ConfigError } from '#config/faults.ts';
import { readVersion } from '#core/assets.ts';

/** Each takes the arguments after its name and gives the exit code. */
const COMMANDS = new Map<string | undefined, (args: readonly string[]) => number | Promise<number>>([
  ['serve', runServe],
  ['check', runCheck],
  ['events', runEvents],
  ['probes', runProbes],
  ['convert', runConvert],
  ['idle', idle],
]);

async function run(argv: readonly string[]): Promise<number> {
  const [name, ...args] = argv;
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (name === '--version') {
    process.stdout.write(`${readVersion()}\n`);
    return 0;
  }
  const command = COMMANDS.get(name);
  if (command !== undefined) return command(args);
  process.stderr.write(name === undefined ? USAGE : `netsonde: no such command: ${name}\n\n${USAGE}`);
  return 2;
}

/** One clear line for what an operator can mend; a stack for what is our fault. */
function explain(error: unknown): string {
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (error instanceof ConfigError) return `the configuration is faulty:\n${message}`;
  return code !== undefined || !(error instanceof TypeError) ? message : String(stack);
}

try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`netsonde: ${explain(error)}\n`);
  process.exitCode = 1;
}
/**
 * Nothing is left by now, and the process ends by itself. What still runs must not keep it, but process.exit() is the last
 * resort: it may wait for ever for a thread that compiles and itself waits for the collector of this one (Node.js 24).
 */
const LAST_RESORT_MS = 2_000;
setTimeout(() => process.exit(), LAST_RESORT_MS).unref();
