import { exitNow } from 'bpf-napi';
import { USAGE, usageOf } from '#commands/usage.ts';
import { ConfigError } from '#config/faults.ts';
import { readVersion } from '#core/assets.ts';
import { visible, visibleLines } from '#core/inert.ts';
import { sizePool } from '#core/pool.ts';

type Command = (args: readonly string[]) => number | Promise<number>;

/** Each command takes the arguments after its name and returns the exit code. Only the requested one is loaded. */
const COMMANDS = new Map<string | undefined, () => Promise<Command>>([
  ['serve', async () => (await import('#commands/serve.ts')).runServe],
  ['check', async () => (await import('#commands/check.ts')).runCheck],
  ['events', async () => (await import('#commands/events.ts')).runEvents],
  ['requests', async () => (await import('#commands/requests.ts')).runRequests],
  ['incidents', async () => (await import('#commands/incidents.ts')).runIncidents],
  ['flows', async () => (await import('#commands/flows.ts')).runFlows],
  ['policy', async () => (await import('#commands/policy.ts')).runPolicy],
  ['capture', async () => (await import('#commands/capture.ts')).runCapture],
  ['reach', async () => (await import('#commands/reach.ts')).runReach],
  ['probes', async () => (await import('#commands/probes.ts')).runProbes],
  ['convert', async () => (await import('#commands/convert.ts')).runConvert],
  ['idle', async () => (await import('#commands/idle.ts')).idle],
]);

async function run(argv: readonly string[]): Promise<number> {
  const [name, ...args] = argv;
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(name !== undefined && COMMANDS.has(name) ? usageOf(name) : USAGE);
    return 0;
  }
  if (argv.includes('--version')) {
    process.stdout.write(`${readVersion()}\n`);
    return 0;
  }
  const load = COMMANDS.get(name);
  if (load !== undefined) return (await load())(args);
  process.stderr.write(name === undefined ? USAGE : `netsonde: no such command: ${visible(name)}\n\n${USAGE}`);
  return 2;
}

/**
 * Error types that JavaScript itself throws. They indicate a bug, unless they have a `code`, which Node.js sets for
 * invalid arguments.
 */
const BUGS = [TypeError, ReferenceError, RangeError];

/** Returns the message of an error that an operator can fix, and the stack trace of a bug. */
function explain(error: unknown): string {
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (error instanceof ConfigError) return `the configuration is invalid:\n${message}`;
  return code === undefined && BUGS.some((bug) => error instanceof bug) ? String(stack) : message;
}

/** Exit codes of commands that fail, if they differ from 1, which is a result of `policy` and `reach`. */
const FAILURES = new Map<string | undefined, number>([
  ['policy', 2],
  ['reach', 2],
]);

sizePool(process.env);
try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`netsonde: ${visibleLines(explain(error))}\n`);
  process.exitCode = FAILURES.get(process.argv[2]) ?? 1;
}
/**
 * Time in milliseconds for the process to exit by itself once all work is done. After that, it is terminated, because a
 * thread may hang in a DNS lookup, in a file system or in the kernel. process.exit() would wait for such a thread, and
 * sometimes for a thread that is compiling code (Node.js 24).
 */
const LAST_RESORT_MS = 200;
setTimeout(() => exitNow(Number(process.exitCode ?? 0)), LAST_RESORT_MS).unref();
