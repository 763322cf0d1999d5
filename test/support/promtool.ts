import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const FETCHED = fileURLToPath(new URL('../../.cache/promtool', import.meta.url));

/** Runs promtool with a text on its stdin and returns all that it says; scripts/setup --test fetches it. */
export function promtool(...args: [...words: string[], input: string]): string {
  const words = args.slice(0, -1);
  const { stdout, stderr, error } = spawnSync(existsSync(FETCHED) ? FETCHED : 'promtool', words, {
    input: args.at(-1),
    encoding: 'utf8',
  });
  if (error !== undefined) throw error;
  return stdout + stderr;
}
