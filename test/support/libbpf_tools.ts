import { spawn } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import { grown, medianBucket, type PageHistogram, toolHistogram } from './latency.ts';
import { eventually } from './oracle.ts';

export interface ToolComparison {
  /** Command line of a tool that prints its histograms once, after `seconds`. */
  readonly command: readonly string[];
  readonly seconds: number;
  /** Matches the part of the output to compare; by default all of it. */
  readonly section?: RegExp;
  readonly histogram: () => Promise<PageHistogram>;
  /** Generates part of the measured load. Called repeatedly while the tool runs. */
  readonly load: () => unknown;
  /** Minimum number of samples in both histograms. */
  readonly atLeast: number;
}

/**
 * Checks that the medians of the agent and the tool are at most one bucket apart. Both use buckets of powers of two in
 * microseconds.
 */
export async function agreesWithTool(comparison: ToolComparison): Promise<void> {
  const { command, seconds, section, histogram, load, atLeast } = comparison;
  const tool = spawn('stdbuf', ['-oL', ...command], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  tool.stdout.on('data', (chunk: Buffer) => {
    text += String(chunk);
  });
  const ended = new Promise((resolve) => tool.once('close', resolve));
  await eventually(() => expect(text).toContain('Tracing'));
  const endMs = performance.now() + 1_000 * seconds - 500;
  const before = await histogram();
  while (performance.now() < endMs) {
    await load();
    await wait(50);
  }
  const ours = grown(before, await histogram());
  await ended;
  const theirs = toolHistogram(section === undefined ? text : (section.exec(text)?.[1] ?? ''));
  expect(theirs.count).toBeGreaterThanOrEqual(atLeast);
  expect(ours.count).toBeGreaterThanOrEqual(atLeast);
  expect(Math.abs(medianBucket(ours) - medianBucket(theirs))).toBeLessThanOrEqual(1);
}
