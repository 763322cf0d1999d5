import { readdirSync } from 'node:fs';
import type { CheckGroup } from '../guest/check.ts';

/**
 * Each test file in this directory is the scenario of the probe with the same name. Older probes are tested in
 * test/kernel and test/guest/checks.
 */
const FILES = readdirSync(import.meta.dirname).filter((file) => file.endsWith('.test.ts'));

export const SCENARIO_NAMES: readonly string[] = FILES.map((file) => file.replace(/\.test\.ts$/, ''));

export function loadScenarios(): Promise<CheckGroup[]> {
  return Promise.all(
    FILES.map(async (file) => ((await import(new URL(file, import.meta.url).href)) as { default: CheckGroup }).default),
  );
}
