import { missingForGuest, runInGuest } from './guest.ts';
import { fetchKernel, findKernel, KERNELS, type KernelName, TESTED } from './kernels.ts';

/**
 * For people and scripts/setup:
 *
 *   node test/guest/main.ts fetch [KERNEL]          fetches what `npm test` boots, or another one
 *   node test/guest/main.ts run KERNEL COMMAND…     runs a command in a guest
 */

const DEADLINE_MS = 600_000;

function kernelOf(name: string): KernelName {
  if (name in KERNELS) return name as KernelName;
  throw new Error(`no kernel ${name}; there are ${Object.keys(KERNELS).join(', ')}`);
}

function fetch(name: KernelName): void {
  if (process.arch !== 'x64' || findKernel(name) !== undefined) return;
  process.stderr.write(`guest: fetches a kernel ${name} from Debian\n`);
  fetchKernel(name);
  process.stderr.write(`guest: has kernel ${findKernel(name)?.release}\n`);
}

async function run(name: KernelName, command: readonly string[]): Promise<void> {
  const missing = missingForGuest(name);
  if (missing !== undefined) throw new Error(missing);
  const line = (text: string) => process.stdout.write(`${text}\n`);
  process.exitCode = await runInGuest(name, { command, deadlineMs: DEADLINE_MS, line });
}

const [verb, name, ...command] = process.argv.slice(2);
try {
  if (verb === 'fetch') for (const kernel of name === undefined ? TESTED : [kernelOf(name)]) fetch(kernel);
  else if (verb === 'run' && name !== undefined && command.length > 0) await run(kernelOf(name), command);
  else throw new Error('usage: main.ts fetch [KERNEL] | run KERNEL COMMAND…');
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
