import { readdirSync, readFileSync } from 'node:fs';

export interface NewProbe {
  readonly name: string;
  /** Whether the probe has a BPF program. */
  readonly bpf: boolean;
  /** Whether the probe gets a directory of its own. */
  readonly folder: boolean;
}

/** Reads a file by its path relative to the root of the project. Returns undefined if the file does not exist. */
export type Read = (path: string) => string | undefined;

const INDEX = 'src/probes/index.ts';
/** Maximum length of a probe's name, which is part of each metric name and the heading of a table column. */
const NAME_MAX = 24;
/** Names that /api/v1/probes or metrics use for other things than probes. */
const RESERVED = ['agent', 'discovery', 'index'];

const SKELETONS = new URL('skeletons/', import.meta.url);

function skeleton(name: string): string {
  return readFileSync(new URL(`${name}.txt`, SKELETONS), 'utf8');
}

/** Converts `conntrack_pressure` to `conntrackPressure`. */
function camelCase(name: string): string {
  return name.replaceAll(/_(.)/g, (_, letter: string) => letter.toUpperCase());
}

/** Returns whether a variable may have this name. Reserved words are excluded. */
function isIdentifier(name: string): boolean {
  try {
    new Function(`'use strict'; const ${name} = 0;`);
    return true;
  } catch {
    return false;
  }
}

/**
 * These patterns match imports such as `import { tcp } from './tcp.ts';` and aliases such as `['net_softirq',
 * 'softirq'],` in src/probes/index.ts.
 */
const LISTED = /^import \{ \w+ \} from '\.\/(?:\w+\/)?(?<name>\w+)\.ts';$/gm;
const ALIASES = /\['(?<alias>\w+)', '(?<of>\w+)'\]/g;

/** Returns the reason why a probe cannot have this name; undefined if it can. */
function faultOf(name: string, index: string): string | undefined {
  if (!/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(name)) {
    return 'it must be snake_case: lower-case letters and digits, in words joined by single underscores';
  }
  if (name.length > NAME_MAX) return `it has ${name.length} characters, and ${NAME_MAX} are the most`;
  if ([...index.matchAll(LISTED)].some(({ groups }) => groups?.['name'] === name))
    return 'there is a probe of that name';
  const alias = [...index.matchAll(ALIASES)].find(({ groups }) => groups?.['alias'] === name);
  if (alias !== undefined) return `it is another name of the probe ${alias.groups?.['of']}`;
  if (RESERVED.includes(name)) return 'it is reserved';
  const isUsed = readdirSync(SKELETONS).some((file) =>
    new RegExp(`\\b${camelCase(name)}\\b`).test(readFileSync(new URL(file, SKELETONS), 'utf8')),
  );
  if (isUsed || !isIdentifier(camelCase(name))) {
    return `its variable would be called ${camelCase(name)}, which already means something else`;
  }
  return undefined;
}

/** Adds the probe to src/probes/index.ts: a sorted import, and an entry at the end of the list. */
function listed(index: string, { name }: NewProbe, module: string): string {
  const line = `import { ${camelCase(name)} } from './${module}.ts';`;
  const lines = index.split('\n');
  const last = lines.findLastIndex((text) => text.startsWith('import { '));
  const end = lines.findIndex((text, at) => at > last && text.startsWith(']'));
  if (last < 0 || end < 0) throw new Error(`${INDEX} has no list of probes`);
  return [
    ...lines.slice(0, last + 1),
    line,
    ...lines.slice(last + 1, end),
    `  ${camelCase(name)},`,
    ...lines.slice(end),
  ].join('\n');
}

function sourcesOf({ name, bpf, folder }: NewProbe, directory: string): [path: string, text: string][] {
  if (bpf) {
    return [
      [`src/bpf/probes/${name}.bpf.c`, skeleton('bpf.c')],
      [`${directory}/${name}.ts`, skeleton('bpf.ts')],
    ];
  }
  const probe = skeleton('procfs.ts');
  const parser = skeleton('parser.ts');
  if (!folder) {
    const imports = parser.slice(0, parser.indexOf('\n\n'));
    const rest = parser.slice(imports.length).replace('export function', 'function').trim();
    return [
      [
        `${directory}/${name}.ts`,
        probe.replace('PARSER', imports).replace('async function', `${rest}\n\nasync function`),
      ],
    ];
  }
  return [
    [`${directory}/${name}.ts`, probe.replace('PARSER', `import { parsePacketSockets } from './${name}_rows.ts';`)],
    [`${directory}/${name}_rows.ts`, parser],
    [`${directory}/${name}_rows.test.ts`, skeleton('parser.test')],
  ];
}

/**
 * Returns the files of a working probe, by path relative to the root of the project. They are not formatted yet.
 * @throws if a probe cannot have this name
 */
export function newProbe(wish: NewProbe, read: Read): ReadonlyMap<string, string> {
  const { name, bpf, folder } = wish;
  const index = read(INDEX) ?? '';
  const fault = faultOf(name, index);
  if (fault !== undefined) throw new Error(`${JSON.stringify(name)} cannot be the name of a probe: ${fault}`);
  const module = folder ? `${name}/${name}` : name;
  const directory = folder ? `src/probes/${name}` : 'src/probes';
  const files = [
    ...sourcesOf(wish, directory),
    [`test/scenarios/${name}.test.ts`, skeleton(bpf ? 'bpf.scenario' : 'procfs.scenario')] as const,
  ];
  const written = new Map<string, string>();
  for (const [path, text] of files) {
    if (read(path) !== undefined) throw new Error(`${path} already exists`);
    written.set(
      path,
      text.replaceAll('module_path', module).replaceAll('snake_name', name).replaceAll('camelName', camelCase(name)),
    );
  }
  written.set(INDEX, listed(index, wish, module));
  return written;
}
