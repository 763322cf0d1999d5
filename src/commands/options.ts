import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type ParseArgsOptionsConfig, parseArgs } from 'node:util';
import { DEFAULT_PATHS, type Paths } from '#core/paths.ts';
import { isLabel, type Labels } from '#core/selector.ts';
import { DEFAULT_LISTEN } from '#http/listen_address.ts';

/** Default directory for data that survives a restart of the agent. */
export const DEFAULT_STATE = '/var/lib/netsonde';
/** Default address of the agent that `events` and `flows` query. */
export const DEFAULT_URL = `http://127.0.0.1:${DEFAULT_LISTEN.port}`;

/** Options of every command, which main.ts handles before it runs the command. */
const COMMON_OPTIONS = { help: { type: 'boolean', short: 'h' }, version: { type: 'boolean' } } as const;

/** Options of the commands that query an agent: `events` and `flows`. */
export const AGENT_OPTIONS = {
  url: { type: 'string', default: DEFAULT_URL },
  'token-file': { type: 'string' },
  'api-socket': { type: 'string' },
} as const;

/** Options of the commands that read this node: `serve` and `check`. */
export const NODE_OPTIONS = {
  config: { type: 'string' },
  proc: { type: 'string' },
  sys: { type: 'string' },
  cgroup: { type: 'string' },
  netns: { type: 'string' },
  'node-label': { type: 'string', multiple: true },
  enable: { type: 'string', multiple: true },
} as const;

/**
 * Parses the options of a command that takes no arguments.
 * @throws {TypeError} with a `code` if there is an unknown option or an argument
 */
export function parseOptions<const Options extends ParseArgsOptionsConfig>(args: readonly string[], options: Options) {
  return parseArgs({ args: [...args], options: { ...COMMON_OPTIONS, ...options } }).values;
}

/**
 * Parses the options and arguments of a command.
 * @throws {TypeError} with a `code` if there is an unknown option
 */
export function parseArguments<const Options extends ParseArgsOptionsConfig>(
  args: readonly string[],
  options: Options,
) {
  return parseArgs({ args: [...args], options: { ...COMMON_OPTIONS, ...options }, allowPositionals: true });
}

/** For each file system, a path that exists in every mount of it. It is used to detect a wrong directory. */
const MARKS: Partial<Record<keyof Paths, string>> = { proc: 'self', sys: 'devices/system/cpu' };

/**
 * Returns the given paths, and the defaults of all other paths.
 * @throws if a directory does not exist, or if the expected file system is not mounted there
 */
export function pathsOf(given: Partial<Paths>): Paths {
  const paths = { ...DEFAULT_PATHS };
  for (const name of Object.keys(DEFAULT_PATHS) as (keyof Paths)[]) {
    const path = given[name];
    if (path === undefined) continue;
    if (!existsSync(path)) throw new Error(`--${name} ${path}: there is no such directory`);
    const mark = MARKS[name];
    if (mark !== undefined && !existsSync(join(path, mark))) {
      throw new Error(
        `--${name} ${path}: no ${name}fs is mounted there (it has no ${mark}); give the host's ${DEFAULT_PATHS[name]}`,
      );
    }
    paths[name] = path;
  }
  return paths;
}

/**
 * Parses node labels in the form `KEY=VALUE`.
 * @throws if a label is malformed
 */
export function nodeLabelsOf(given: readonly string[] = []): Labels {
  return Object.fromEntries(
    given.map((text) => {
      const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
      if (key === undefined || value === undefined || !isLabel(key, value)) {
        throw new Error(`--node-label ${text}: give KEY=VALUE, like topology.kubernetes.io/zone=a`);
      }
      return [key, value];
    }),
  );
}
