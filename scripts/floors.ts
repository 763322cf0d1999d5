import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

/** A layer of src/: a file or a directory that may import only from lower floors. */
export interface Floor {
  readonly name: string;
  /** Names of the floors from which this floor may import; undefined for all lower floors. */
  readonly only?: readonly string[];
}

/** All floors, from top to bottom. */
export const FLOORS: readonly Floor[] = [
  { name: 'main.ts' },
  { name: 'commands' },
  { name: 'agent' },
  { name: 'server.ts' },
  { name: 'http' },
  { name: 'web', only: ['api', 'core'] },
  { name: 'kernel' },
  { name: 'events' },
  { name: 'delivery' },
  { name: 'config' },
  { name: 'kubernetes' },
  { name: 'peers' },
  { name: 'collectors' },
  { name: 'probes' },
  { name: 'pods' },
  { name: 'probe' },
  { name: 'sources' },
  { name: 'bpf' },
  { name: 'files' },
  { name: 'policies', only: ['core'] },
  { name: 'why', only: ['core'] },
  { name: 'api' },
  { name: 'core' },
];

export interface Import {
  readonly from: string;
  readonly to: string;
}

export interface Survey {
  readonly files: readonly string[];
  readonly imports: readonly Import[];
  /** Messages that start with the path of the file. */
  readonly violations: readonly string[];
  /** Groups of files that import each other in a cycle, including type imports. */
  readonly circles: readonly (readonly string[])[];
}

/** Matches `import … from '…'`, `export … from '…'`, `import '…'` and `import('…')`, in code and in types. */
const SPECIFIER = /(?:\bfrom\s*|\bimport\s*\(?\s*)'([^'\n]+)'/g;
const IS_CODE = /\.tsx?$/;
const IS_TEST = /\.test\.tsx?$/;

/**
 * Checks the imports in a source tree. Tests do not belong to a floor, and may import from every floor.
 * @param root directory that contains the floors
 */
export function surveyFloors(root: string, floors: readonly Floor[] = FLOORS): Survey {
  const files = codeBelow(root);
  const violations = [...misplaced(root, floors)];
  const imports: Import[] = [];
  for (const from of files) {
    for (const [, specifier = ''] of readFileSync(join(root, from), 'utf8').matchAll(SPECIFIER)) {
      if (!specifier.startsWith('.') && !specifier.startsWith('#')) continue;
      const to = resolve(from, specifier);
      if (!existsSync(join(root, to))) violations.push(`${from}: imports ${specifier}, which is not there`);
      else imports.push({ from, to });
      const fault = faultOf(from, to, specifier, floors);
      if (fault !== undefined) violations.push(`${from}: ${fault}`);
    }
  }
  return { files, imports, violations, circles: circlesOf(files, imports) };
}

/** Returns the directory of src/ that contains a file; for a file directly in src/, the name of the file. */
function roomOf(path: string): string {
  return path.split('/', 1)[0] ?? '';
}

function codeBelow(root: string): string[] {
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && IS_CODE.test(entry.name) && !IS_TEST.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

function* misplaced(root: string, floors: readonly Floor[]): Generator<string> {
  for (const name of readdirSync(root)) {
    if (floors.some((floor) => floor.name === name)) continue;
    const isFolder = statSync(join(root, name)).isDirectory();
    yield isFolder ? `${name}/: a folder in no floor` : `${name}: a file loose in src/, in no room`;
  }
}

/** Resolves an import by name. `#server` refers to server.ts. Every other name starts with the name of a floor. */
function resolve(from: string, specifier: string): string {
  if (specifier === '#server') return 'server.ts';
  return specifier.startsWith('#') ? specifier.slice(1) : normalize(join(dirname(from), specifier));
}

function faultOf(from: string, to: string, specifier: string, floors: readonly Floor[]): string | undefined {
  const room = roomOf(from);
  const other = roomOf(to);
  if (room === other) return specifier.startsWith('#') ? `imports ${specifier} of its own room by name` : undefined;
  if (!specifier.startsWith('#') && room !== 'main.ts') return `imports ${specifier} of another room by path`;
  const own = floors.findIndex(({ name }) => name === room);
  const below = floors.findIndex(({ name }) => name === other);
  if (own < 0 || below < 0) return undefined;
  if (below < own) return `imports up: ${room} stands below ${other} (${specifier})`;
  const { only } = floors[own] as Floor;
  if (only !== undefined && !only.includes(other))
    return `imports ${specifier}: ${room} may see ${only.join(', ')} only`;
  return undefined;
}

/**
 * Returns the strongly connected components of the import graph (R. Tarjan, Depth-first search and linear graph
 * algorithms, 1972).
 */
function circlesOf(files: readonly string[], imports: readonly Import[]): string[][] {
  const targets = new Map<string, string[]>(files.map((file) => [file, []]));
  for (const { from, to } of imports) targets.get(from)?.push(to);
  const numbers = new Map<string, number>();
  const stack: string[] = [];
  const onStack = new Set<string>();
  const found: string[][] = [];
  const visit = (file: string): number => {
    const number = numbers.size;
    numbers.set(file, number);
    stack.push(file);
    onStack.add(file);
    let low = number;
    for (const target of targets.get(file) ?? []) {
      if (!numbers.has(target)) low = Math.min(low, visit(target));
      else if (onStack.has(target)) low = Math.min(low, numbers.get(target) as number);
    }
    if (low === number) {
      const members = stack.splice(stack.indexOf(file));
      for (const member of members) onStack.delete(member);
      if (members.length > 1) found.push(members.sort());
    }
    return low;
  };
  for (const file of files) if (!numbers.has(file)) visit(file);
  return found;
}
