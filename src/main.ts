import { exitNow } from 'bpf-napi';
import { USAGE } from '#commands/usage.ts';
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
  ['flows', async () => (await import('#commands/flows.ts')).runFlows],
  ['probes', async () => (await import('#commands/probes.ts')).runProbes],
  ['convert', async () => (await import('#commands/convert.ts')).runConvert],
  ['idle', async () => (await import('#commands/idle.ts')).idle],
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
  const load = COMMANDS.get(name);
  if (load !== undefined) return (await load())(args);
  process.stderr.write(name === undefined ? USAGE : `netsonde: no such command: ${visible(name)}\n\n${USAGE}`);
  return 2;
}

/** One clear line for faults that an operator can fix; a stack for faults of ours. */
function explain(error: unknown): string {
  const { code, message, stack } = error as NodeJS.ErrnoException;
  if (error instanceof ConfigError) return `the configuration is faulty:\n${message}`;
  return code !== undefined || !(error instanceof TypeError) ? message : String(stack);
}

sizePool(process.env);
try {
  process.exitCode = await run(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`netsonde: ${visibleLines(explain(error))}\n`);
  process.exitCode = 1;
}
/**
 * No work is left by now, and the process ends by itself. A hanging thread must not prevent that: one in a name look-up, in a
 * file system, in the kernel. process.exit() would wait for such threads, and at times for one that compiles (Node.js 24).
 */
const LAST_RESORT_MS = 200;
setTimeout(() => exitNow(Number(process.exitCode ?? 0)), LAST_RESORT_MS).unref();
