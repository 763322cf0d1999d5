import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const FETCHED = fileURLToPath(new URL('../../.cache/promtool', import.meta.url));

/** Runs promtool with a text on stdin, and returns its output. scripts/setup --test fetches the program. */
export function promtool(...args: [...words: string[], input: string]): string {
  const words = args.slice(0, -1);
  const { stdout, stderr, error } = spawnSync(existsSync(FETCHED) ? FETCHED : 'promtool', words, {
    input: args.at(-1),
    encoding: 'utf8',
    // A run is short. By default, collecting garbage takes a quarter of its CPU time.
    env: { ...process.env, GOGC: '800' },
  });
  if (error !== undefined) throw error;
  return stdout + stderr;
}

/** @throws if a query is not valid PromQL */
export function checkPromql(queries: readonly string[]): void {
  const directory = mkdtempSync(join(tmpdir(), 'promql-'));
  try {
    const path = join(directory, 'rules.yaml');
    const rules = queries.map((expr, index) => ({ record: `query:${index}`, expr }));
    // The file is written as JSON, which is also valid YAML.
    writeFileSync(path, JSON.stringify({ groups: [{ name: 'queries', rules }] }));
    const said = promtool('check', 'rules', path, '');
    if (!said.includes(`SUCCESS: ${queries.length} rules found`)) throw new Error(said);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
