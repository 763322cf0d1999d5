import { expect, it } from 'vitest';
import { type BurstsOptions, checkFirstBursts } from '../support/first_bursts.ts';

const MINUTE_MS = 60_000;

it.each<[string, BurstsOptions]>([
  [
    'ten minutes, each server scraping every second',
    { intervals: [1, 1], rounds: 200, everySeconds: 3, lifeSeconds: 8, kills: 2 },
  ],
  [
    'every 15 and every 30 seconds, and Pods that live for a minute',
    { intervals: [15, 30], rounds: 36, everySeconds: 10, lifeSeconds: 60, kills: 1 },
  ],
])(
  'two Prometheus servers see what happened in each namespace: %s',
  { timeout: 30 * MINUTE_MS },
  async (_, options) => {
    const report = await checkFirstBursts(options);
    process.stdout.write(`${JSON.stringify(report)}\n`);
    expect(report.kills).toBe(options.kills);
  },
);
