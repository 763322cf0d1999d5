import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { AgentProcess } from '../../test/support/agent_process.ts';
import { cpuMsOf, ThreadTimes } from '../lived/threads.ts';
import { median, type Row, spreadOf } from '../measure.ts';
import type { Traffic } from './traffic.ts';

const ROUNDS = 4;
const SECONDS = 8;
const START_MS = 10_000;
/** Requests per second. With 0, requests are sent as fast as possible. */
const RATES = { none: undefined, '1,000 per second': 1_000, 'as many as possible': 0 } as const;
/** CPU milliseconds per second that requests may add. */
const LIMIT = 0.5;
const ASKED_RATE = 15_000;

/**
 * Measures the CPU time of a running agent with the default probes, `http` and `dns` at several rates of requests. It is
 * not scraped meanwhile.
 */
export async function measureAgent(traffic: Traffic, folder: string): Promise<Row[]> {
  const config = join(folder, 'config.yaml');
  writeFileSync(config, JSON.stringify({ probes: { http: { enabled: true }, dns: { enabled: true } } }));
  await using agent = await AgentProcess.serve(['--config', config]);
  await wait(START_MS);
  const used = new Map<keyof typeof RATES, number[]>();
  const reached: number[] = [];
  let fastest = ASKED_RATE;
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, rate] of Object.entries(RATES) as [keyof typeof RATES, number | undefined][]) {
      const before = ThreadTimes.of(agent.pid);
      if (rate === undefined) {
        await wait(SECONDS * 1_000);
      } else {
        const { requests, seconds } = await traffic.play('kept', (rate || fastest) * SECONDS, rate);
        if (rate === 0) {
          fastest = Math.round(requests / seconds);
          reached.push(fastest);
        }
      }
      const use = ThreadTimes.of(agent.pid).since(before);
      used.set(name, [...(used.get(name) ?? []), (cpuMsOf(use) * 1_000) / use.elapsedMs]);
    }
  }
  const bench = 'requests: CPU of a running agent';
  const idle = used.get('none') ?? [];
  return [
    {
      bench,
      what: 'requests per second, as many as possible',
      unit: '',
      bound: { atLeast: ASKED_RATE },
      value: median(reached),
    },
    ...[...used].map(([name, values]) => ({
      bench,
      what: `requests: ${name}`,
      value: median(values),
      unit: 'ms/s',
      spread: spreadOf(values),
    })),
    ...[...used].slice(1).map(([name, values]) => ({
      bench,
      what: `${name}, above none`,
      value: median(values.map((value, index) => value - (idle[index] ?? Number.NaN))),
      unit: 'ms/s',
      bound: { atMost: LIMIT },
    })),
  ];
}
