import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { CheckReport } from '#commands/check.ts';
import { renderTable } from '#commands/table.ts';
import { table } from '../../scripts/markdown.ts';
import { run } from '../support/command.ts';
import { type LoadedFile, loadEveryObject, sumOf } from '../support/every_object.ts';
import type { CheckGroup } from './check.ts';
import { cpus as CPUS } from './checks/cpus.ts';
import { loadGroups } from './checks/index.ts';
import { everyProbe } from './checks/matrix.ts';
import { fetchGuest, missingPrograms } from './guest.ts';
import { findKernel, type KernelName } from './kernels.ts';
import { type Checked, runChecks } from './run_checks.ts';

const NETSONDE = fileURLToPath(new URL('../../bin/netsonde', import.meta.url));
/** Deadline of an hour, which only ends guests that hang. On a busy machine, all groups take more than twenty minutes. */
const DEADLINE_MS = 3_600_000;
/**
 * A kernel, and the numbers of CPUs with which it is tested. As on many real machines, these numbers do not divide the
 * walks' buffers evenly.
 */
const SHAPES = { kernel: '6.1', cpus: [3, 5, 12, 24] } as const satisfies {
  kernel: KernelName;
  cpus: readonly number[];
};
/** Whether it is a failure if a kernel cannot be fetched. This is so in CI, where skipped tests would go unnoticed. */
const IS_REQUIRED = process.env['CI'] !== undefined;

/** Results for one kernel. */
export interface Column {
  readonly name: string;
  readonly report: CheckReport;
  readonly loads: readonly LoadedFile[];
}

/**
 * Runs checks on a kernel.
 * @param wanted names of the groups; all groups by default
 * @param say reports progress
 */
export async function testKernel(
  name: KernelName,
  say: (text: string) => void,
  wanted?: readonly string[],
): Promise<Pick<Checked, 'report' | 'loads'> & { faults: readonly string[] }> {
  const missing = missingKernel(name);
  if (missing !== undefined) {
    say(`kernel ${name}: skipped: ${missing}`);
    return { report: undefined, loads: [], faults: IS_REQUIRED ? [`${name}: ${missing}`] : [] };
  }
  say(`kernel ${name}: ${findKernel(name)?.release}`);
  const groups = (await loadGroups()).filter((group) => wanted?.includes(group.name) ?? true);
  const checked = await runChecks(name, groups, { deadlineMs: DEADLINE_MS });
  const { outcomes, report, loads } = checked;
  const faults = faultsOf(name, groups, checked);
  for (const { group, title, lacks } of outcomes.values()) {
    if (lacks !== undefined) say(`kernel ${name}: ${group}: ${title}: does not apply: ${lacks}`);
  }
  say(`kernel ${name}: ${outcomes.size} checks, ${faults.length} failed`);
  if (wanted === undefined && name === SHAPES.kernel) faults.push(...(await testShapes(say)));
  return { report, loads, faults };
}

/** Runs the walks in guests with several CPUs. All other checks run with one CPU. */
async function testShapes(say: (text: string) => void): Promise<string[]> {
  const faults: string[] = [];
  for (const cpus of SHAPES.cpus) {
    const checked = await runChecks(SHAPES.kernel, [CPUS], { deadlineMs: DEADLINE_MS, cpus });
    const found = faultsOf(`${SHAPES.kernel} with ${cpus} CPUs`, [CPUS], checked);
    say(`kernel ${SHAPES.kernel} with ${cpus} CPUs: ${checked.outcomes.size} checks, ${found.length} failed`);
    faults.push(...found);
  }
  return faults;
}

function faultsOf(name: string, groups: readonly CheckGroup[], { outcomes, printed, failure }: Checked): string[] {
  const faults: string[] = [];
  for (const group of groups) {
    for (const title of group.titles) {
      const key = `${group.name}: ${title}`;
      const outcome = outcomes.get(key);
      if (outcome === undefined) faults.push(`${name}: ${key}: was not run`);
      else if (outcome.error !== undefined) faults.push(`${name}: ${key}: ${outcome.error}`);
    }
  }
  if (failure !== undefined) faults.push([`${name}: ${failure}`, ...printed.slice(-40)].join('\n'));
  return faults;
}

function missingKernel(name: KernelName): string | undefined {
  const missing = missingPrograms(name);
  if (missing !== undefined) return missing;
  try {
    fetchGuest(name);
    return undefined;
  } catch (error) {
    return `could not be fetched: ${(error as Error).message}`;
  }
}

/** Number of times that this machine loads each object to measure its time. */
const RUNS = 5;

/** Tests this machine's kernel. */
export async function columnHere(): Promise<Column> {
  return { name: 'this machine', report: checkHere(), loads: await loadEveryObject(RUNS) };
}

function checkHere(): CheckReport {
  const folder = mkdtempSync(join(tmpdir(), 'netsonde-check-'));
  try {
    const config = join(folder, 'all.yaml');
    writeFileSync(config, everyProbe());
    return JSON.parse(run(NETSONDE, 'check', '--json', '--config', config)) as CheckReport;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Numbers the reasons as footnotes. Identical reasons share a number. */
class Notes {
  readonly texts: string[] = [];

  mark(reason: string): string {
    if (reason === '') return '';
    if (!this.texts.includes(reason)) this.texts.push(reason);
    return ` [${this.texts.indexOf(reason) + 1}]`;
  }
}

function headOf(columns: readonly Column[]): string[] {
  return columns.map(({ report }) => report.kernel);
}

/** Returns rows with cells such as `running pass` and `degraded fentry, tp_btf [1]`. */
function stateRows(columns: readonly Column[], notes: Notes): string[][] {
  const names = columns[0]?.report.probes.map(({ name }) => name) ?? [];
  return names.map((name) => [
    name,
    ...columns.map(({ report }) => {
      const probe = report.probes.find((one) => one.name === name);
      if (probe === undefined) return '';
      return `${[probe.state, probe.reader].filter((text) => text !== '').join(' ')}${notes.mark(probe.reason)}`;
    }),
  ]);
}

function hookRows(columns: readonly Column[], notes: Notes): string[][] {
  const points = columns[0]?.report.hooks.map(({ probe, what }) => ({ probe, what })) ?? [];
  return points.map(({ probe, what }) => [
    probe,
    what,
    ...columns.map(({ report }) => {
      const point = report.hooks.find((one) => one.probe === probe && one.what === what);
      if (point === undefined) return '';
      return `${point.hooks.join(', ') || 'none'}${notes.mark(point.reason)}`;
    }),
  ]);
}

/**
 * Returns rows with the instructions of all programs of an object and those of the largest one. The last cell is the
 * median time on the last kernel.
 */
function loadRows(columns: readonly Column[]): string[][] {
  const last = columns.at(-1)?.loads ?? [];
  return last.map(({ name, cpuMs }) => [
    name,
    ...columns.map(({ loads }) => {
      const file = loads.find((one) => one.name === name);
      if (!file?.isLoaded) return 'no';
      const [sum, most] = [sumOf(file.verified), Math.max(...file.verified)].map((count) => count.toLocaleString('en'));
      return file.verified.length === 0 ? 'yes' : `${sum} (${most})`;
    }),
    cpuMs.length === 0 ? '' : `${[...cpuMs].sort((a, b) => a - b)[cpuMs.length >> 1]?.toFixed(0)} ms`,
  ]);
}

/** Renders the table for a terminal. */
export function renderText(columns: readonly Column[]): string {
  const notes = new Notes();
  const rows = stateRows(columns, notes);
  const text = notes.texts.map((reason, index) => `[${index + 1}] ${reason}`);
  return [renderTable([['PROBE', ...headOf(columns)], ...rows]), ...text].join('\n');
}

export function renderDocument(columns: readonly Column[]): string {
  const notes = new Notes();
  const states = table(['Probe', ...headOf(columns)], stateRows(columns, notes));
  const hooks = table(['Probe', 'Hook point', ...headOf(columns)], hookRows(columns, notes));
  return `# What runs on which kernel

Made by \`npm run test:kernels\`, which tests every probe, or by \`node test/guest/main.ts document\`. Do not edit. Both boot Debian kernels, load the modules that the probes need,
and run \`netsonde check\` with all probes enabled. The column headings are the kernel releases; those that end in \`-arm64\` run on an emulated arm64 machine. The last column is the kernel of the machine that ran the tests, which
is locked down and supports no function hooks (fentry, kprobes). \`netsonde check\` prints the same information for the running kernel.

*running* means that the probe reports everything that it can. The state is followed by the reader, which is \`pass\` (a BPF walk over all namespaces), files of /proc, netlink, or the kinds
of kernel hooks. *degraded* means that the probe reports less than it can, or uses a fallback reader that lacks some values. *unsupported* means that the kernel lacks something that the
probe needs. Numbers in brackets refer to the reasons at the end.

## Probes

${states}

## Hooks

The table lists the hooks that each BPF probe uses, or would use if it were enabled.

${hooks}

## Verification

The kernel verifies each program when it is loaded. The table lists the objects that the agent and \`netsonde capture\` load with every probe enabled, and the number of instructions that the verifier processes: of
all programs of the object and, in brackets, of the largest one. The verifier refuses a program after 1,000,000. *yes* means that the kernel loads the object but does not count (before 5.16), *no*
that it refuses it. The last column is the CPU time of a load on this machine, including the creation of the maps.

${table(['Object', ...headOf(columns), 'Time'], loadRows(columns))}

## Reasons

${notes.texts.map((reason, index) => `${index + 1}. ${reason}`).join('\n')}
`;
}
