import { equal } from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { BpfError, type BpfObject } from 'bpf-napi';
import { DropSource } from '#commands/capture/drop_source.ts';
import { KnownPolicies } from '#commands/capture/known_policies.ts';
import { PROBES } from '#probes/index.ts';
import { OBJECTS, only, TestKernel } from './kernel.ts';
import { type Load, watchLoads } from './loads.ts';
import { eventually } from './oracle.ts';

/** How the running kernel loads an object with the programs, constants and maps that the agent chooses. */
export interface LoadedFile {
  /** Name of the object's file, without its suffix. */
  readonly name: string;
  readonly isLoaded: boolean;
  /** Instructions that the verifier processed for each program; empty before 5.16. */
  readonly verified: readonly number[];
  /** CPU time of each further load in milliseconds. It includes opening the file and the creation of the maps. */
  readonly cpuMs: readonly number[];
}

const SUFFIX = '.bpf.o';
/** Under emulation, the verifier takes minutes. */
const START_MS = 300_000;
const NO_AGENT = { url: 'http://127.0.0.1:1' };

/**
 * Opens an agent with every probe, and the source of dropped packets of `netsonde capture`, and reports on all objects
 * that were built. The load with the most instructions counts for a file.
 * @param runs number of times that each object is loaded again to measure its time, with nothing else running
 */
export async function loadEveryObject(runs: number): Promise<LoadedFile[]> {
  const loads: Load[] = [];
  const watched = watchLoads((load) => loads.push(load));
  await using resources = new AsyncDisposableStack();
  try {
    const probes = Object.fromEntries(PROBES.map(({ name }) => [name, true]));
    const agent = resources.use(await TestKernel.open(only(probes)));
    resources.use(await DropSource.open([], 64, undefined, resources.use(new KnownPolicies(NO_AGENT))));
    const starting = () => agent.kernel.probes().filter(({ state }) => state === 'starting');
    await eventually(() => equal(starting().length, 0), START_MS);
  } finally {
    watched[Symbol.dispose]();
  }
  const names = readdirSync(OBJECTS).filter((file) => file.endsWith(SUFFIX));
  const files: LoadedFile[] = [];
  for (const file of names.sort()) {
    const name = file.slice(0, -SUFFIX.length);
    const [most] = loads
      .filter(({ spec }) => spec.file === file)
      .flatMap((load) => {
        const verified = verifiedBy(load);
        return verified === undefined ? [] : [{ load, verified }];
      })
      .sort((a, b) => sumOf(b.verified) - sumOf(a.verified));
    files.push(
      most === undefined
        ? { name, isLoaded: false, verified: [], cpuMs: [] }
        : { name, isLoaded: true, verified: most.verified, cpuMs: await timesOf(most.load, runs) },
    );
  }
  return files;
}

/** Loads an object again. Maps that it shares with others are those of the agent. */
async function timesOf({ bpf, spec }: Load, runs: number): Promise<number[]> {
  const times: number[] = [];
  for (let run = 0; run < runs; run++) {
    const start = process.cpuUsage();
    const object = await bpf.load(spec);
    const { user, system } = process.cpuUsage(start);
    object.close();
    times.push((user + system) / 1000);
  }
  return times;
}

/**
 * Reads the counts from the descriptors of the programs (kernel: kernel/bpf/syscall.c, bpf_prog_show_fdinfo). Returns
 * undefined if the object was refused, or only loaded to try it.
 */
function verifiedBy({ object, spec }: Load): number[] | undefined {
  const ids = object === undefined ? undefined : idsOf(object, spec.programs);
  if (ids === undefined) return undefined;
  const counts = new Map<number, number>();
  for (const descriptor of readdirSync('/proc/self/fdinfo')) {
    const text = descriptorInfo(descriptor);
    const id = Number(/^prog_id:\s+(\d+)$/m.exec(text)?.[1]);
    const count = /^verified_insns:\s+(\d+)$/m.exec(text)?.[1];
    if (ids.has(id) && count !== undefined) counts.set(id, Number(count));
  }
  return [...counts.values()];
}

/** Returns undefined if the object was closed. */
function idsOf(object: BpfObject, programs: readonly string[]): Set<number> | undefined {
  try {
    return new Set(programs.map((program) => object.programInfo(program).id));
  } catch (error) {
    if (error instanceof BpfError && error.code === 'BPF_CLOSED') return undefined;
    throw error;
  }
}

function descriptorInfo(descriptor: string): string {
  try {
    return readFileSync(`/proc/self/fdinfo/${descriptor}`, 'utf8');
  } catch {
    // The directory was listed through a descriptor that no longer exists.
    return '';
  }
}

export function sumOf(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0);
}
