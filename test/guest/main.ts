import { writeGenerated } from '../../scripts/write_generated.ts';
import { fetchGuest, isFetched, missingForGuest, missingPrograms, runInGuest } from './guest.ts';
import { findKernel, KERNELS, type KernelName, TESTED } from './kernels.ts';
import { type Column, columnHere, renderDocument, renderText, testKernel } from './matrix.ts';

/**
 * Command line for developers and scripts/setup:
 *
 *   node test/guest/main.ts fetch [KERNEL]          fetches the kernels of `npm test`, or the given one
 *   node test/guest/main.ts run KERNEL COMMAND…     runs a command in a guest
 *   node test/guest/main.ts test [KERNEL]…          runs all checks on every kernel, or on the given ones
 *   node test/guest/main.ts document                only writes docs/kernels.md, in a few minutes for each kernel
 */

const DEADLINE_MS = 3_600_000;
const ALL = Object.keys(KERNELS).map(kernelOf);
/** Groups that load the modules of probes, and those whose results the document shows. */
const DOCUMENTED = ['virtcmdlatency', 'ipvs', 'rdma', 'loads', 'matrix'];
const DOCUMENT = new URL('../../docs/kernels.md', import.meta.url);

function kernelOf(name: string): KernelName {
  if (name in KERNELS) return name as KernelName;
  throw new Error(`no kernel ${name}; there are ${Object.keys(KERNELS).join(', ')}`);
}

function fetch(name: KernelName): void {
  if (process.arch !== 'x64' || isFetched(name)) return;
  process.stderr.write(`guest: fetching a kernel ${name} from Debian\n`);
  fetchGuest(name);
  process.stderr.write(`guest: has kernel ${findKernel(name)?.release}\n`);
  const missing = missingPrograms(name);
  if (missing !== undefined) process.stderr.write(`guest: ${missing}\n`);
}

async function run(name: KernelName, command: readonly string[]): Promise<void> {
  const missing = missingForGuest(name);
  if (missing !== undefined) throw new Error(missing);
  const line = (text: string) => process.stdout.write(`${text}\n`);
  process.exitCode = await runInGuest(name, { command, deadlineMs: DEADLINE_MS, line });
}

/** Implements `npm run test:kernels`. Writes docs/kernels.md if all kernels were tested. */
async function test(names: readonly KernelName[], groups?: readonly string[]): Promise<void> {
  const columns: Column[] = [];
  let faults = 0;
  for (const name of names) {
    const outcome = await testKernel(name, (text) => process.stderr.write(`${text}\n`), groups);
    faults += outcome.faults.length;
    for (const fault of outcome.faults) process.stderr.write(`FAILED ${fault}\n`);
    const { report, loads } = outcome;
    if (report !== undefined) columns.push({ name, report, loads });
  }
  const isWhole = columns.length === Object.keys(KERNELS).length;
  columns.push(await columnHere());
  process.stdout.write(`${renderText(columns)}\n`);
  if (isWhole) writeGenerated(DOCUMENT, renderDocument(columns));
  else process.stderr.write('docs/kernels.md is not written: not every kernel was tested\n');
  if (faults > 0) process.exitCode = 1;
}

const [verb, name, ...command] = process.argv.slice(2);
try {
  if (verb === 'fetch') for (const kernel of name === undefined ? TESTED : [kernelOf(name)]) fetch(kernel);
  else if (verb === 'run' && name !== undefined && command.length > 0) await run(kernelOf(name), command);
  else if (verb === 'test') await test(name === undefined ? ALL : [name, ...command].map(kernelOf));
  else if (verb === 'document') await test(ALL, DOCUMENTED);
  else throw new Error('usage: main.ts fetch [KERNEL] | run KERNEL COMMAND… | test [KERNEL]… | document');
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
}
