import { existsSync, globSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SERVERS = fileURLToPath(new URL('../../../.cache/servers', import.meta.url));
const FOLDERS = [
  ...['usr/sbin', 'usr/bin', 'usr/lib/postgresql/*/bin'].flatMap((folder) => globSync(join(SERVERS, folder))),
  ...globSync('/usr/lib/postgresql/*/bin'),
  ...(process.env['PATH'] ?? '').split(':'),
];

/** Programs that generate the traffic: this machine's npm, and programs from Debian packages. */
const NEEDED = [
  'nginx',
  'curl',
  'initdb',
  'postgres',
  'pgbench',
  'redis-check-rdb',
  'redis-benchmark',
  'dnsmasq',
  'busybox',
  'npm',
  'nft',
  'openssl',
  'setpriv',
] as const;

/** Programs that only a few tests need. */
const OPTIONAL = ['nghttpx'] as const;

export type Program = (typeof NEEDED)[number] | (typeof OPTIONAL)[number];

/**
 * Returns whether to skip tests that need these programs. If `CI` is set, the tests are not skipped and fail instead.
 */
export function lacksApplications(): boolean {
  return process.env['CI'] === undefined && NEEDED.some((name) => find(name) === undefined);
}

/** Likewise for one program. */
export function lacksProgram(name: Program): boolean {
  return process.env['CI'] === undefined && find(name) === undefined;
}

function find(name: string): string | undefined {
  return FOLDERS.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

export function program(name: Program): string {
  const path = find(name);
  if (path === undefined) throw new Error(`${name} is not on this machine: run scripts/setup --test`);
  return path;
}

/** Returns the command that runs npm with the tests' Node.js. */
export function npm(): readonly string[] {
  return [process.execPath, realpathSync(program('npm'))];
}

/** Returns environment variables for programs from packages that were extracted but not installed. */
export function libraries(): NodeJS.ProcessEnv {
  return { LD_LIBRARY_PATH: globSync(join(SERVERS, 'usr/lib/*-linux-gnu')).join(':') };
}
