import { writeFileSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { FLOW_RECORD, type FlowRecord } from '#api/flows.ts';
import { AgentProcess } from '../support/agent_process.ts';
import { type FlowSums, keyOf } from '../support/flow_sums.ts';
import { FlowTraffic, type TrafficKind } from '../support/flow_traffic.ts';
import type { TestNetns } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';
import { eventually } from '../support/oracle.ts';
import { UnseenCloses } from '../support/unseen_closes.ts';

/** Kinds of traffic in which connections fail, and `short`, in which none does. */
const WEIGHTS: Partial<Record<TrafficKind, number>> = {
  short: 2,
  refused: 3,
  timeout: 1,
  unreachable: 2,
  no_route: 1,
  given_up: 3,
  no_port: 2,
  abort: 2,
  silent_peer: 1,
  overflow: 1,
};
const CONNECTIONS = 90;
const LOOK_MS = 10;
/** Ends of established connections that count as failures. */
const FAILED_ENDS = ['reset_by_peer', 'timeout', 'other'];
const MAPPED = /^\[?(?:::ffff:(?=\d+\.))?(.*?)\]?:(\d+)$/;

/** Number of failures by edge and cause, such as `ns1 client 10.0.0.1 80 refused`. */
type Failures = Readonly<Record<string, number>>;

function failuresOf({ rows }: FlowSums): Failures {
  const failures: Record<string, number> = {};
  for (const row of rows) {
    const ends = Object.entries(row.ends).filter(([end]) => FAILED_ENDS.includes(end));
    for (const [cause, count] of [...Object.entries(row.failed), ...ends]) failures[`${keyOf(row)} ${cause}`] = count;
  }
  return failures;
}

function recordsIn(text: string, pods: readonly string[]): FlowRecord[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => FLOW_RECORD.parse(JSON.parse(line)))
    .filter(({ pod }) => pod !== null && pods.includes(pod));
}

function countFailures(records: readonly FlowRecord[]): Failures {
  const failures: Record<string, number> = {};
  for (const { pod, role, src, dst, dstPort, cause, end } of records) {
    const key = `${pod} ${role} ${role === 'client' ? dst : src} ${dstPort} ${cause ?? end}`;
    failures[key] = (failures[key] ?? 0) + 1;
  }
  return failures;
}

/** Returns the number of failures in the first count that the second count lacks. */
function beyond(failures: Failures, others: Failures): number {
  const excess = Object.entries(failures).map(([key, count]) => Math.max(0, count - (others[key] ?? 0)));
  return excess.reduce((sum, count) => sum + count, 0);
}

/** Adds the connections that `ss -tiH` shows in the state SYN_SENT, as `client server`. */
function look(netns: TestNetns, seen: Set<string>): void {
  for (const line of netns.exec('ss -tinOH state syn-sent').split('\n')) {
    const ends = line.trim().split(/\s+/).slice(2, 4);
    if (ends.length === 2) seen.add(ends.map((end) => end.replace(MAPPED, '$1 $2')).join(' '));
  }
}

it('every failed connection that the application or ss has seen is in `netsonde flows --follow` with its cause', async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'follow-'));
  const config = join(folder.path, 'config.yaml');
  writeFileSync(config, only({ flow: { enabled: true, limit: 10_000, records: { perPod: '10000/s' } } }));
  using unseen = new UnseenCloses();
  await using traffic = await FlowTraffic.start({ seed: String(process.pid) });
  const pods = [traffic.a.name, traffic.b.name];
  await using agent = await AgentProcess.serve(['--config', config]);
  await eventually(async () => {
    const entities = JSON.stringify(await agent.json('/api/v1/entities'));
    for (const pod of pods) expect(entities).toContain(pod);
  });
  await using following = AgentProcess.run([
    'flows',
    '--url',
    agent.url ?? '',
    '--follow',
    '--since',
    '10m',
    '-o',
    'json',
  ]);
  const records = () => recordsIn(following.stdout, pods);
  await eventually(async () => {
    await traffic.play({ refused: 1 }, 2);
    expect(records().length).toBeGreaterThan(0);
  });

  const seen = new Set<string>();
  let isPlaying = true;
  const playing = traffic.play(WEIGHTS, CONNECTIONS).finally(() => {
    isPlaying = false;
  });
  while (isPlaying) {
    look(traffic.a, seen);
    await wait(LOOK_MS);
  }
  await playing;
  const failures = failuresOf(await traffic.rest());
  await eventually(() => {
    const shown = countFailures(records());
    // Only sockets whose close no program could observe may be missing.
    if (unseen.count === 0) expect(shown).toEqual(failures);
    expect(beyond(shown, failures)).toBe(0);
    expect(beyond(failures, shown)).toBeLessThanOrEqual(unseen.count);
  });
  const causes = new Set(records().map(({ cause, end }) => cause ?? end));
  for (const cause of ['refused', 'timeout', 'unreachable', 'given_up', 'no_port', 'reset_by_peer']) {
    expect([...causes]).toContain(cause);
  }
  const attempts = new Set(records().map(({ src, srcPort, dst, dstPort }) => `${src} ${srcPort} ${dst} ${dstPort}`));
  const established = [...seen].filter((attempt) => !attempts.has(attempt));
  expect(seen.size).toBeGreaterThan(established.length);
  // A connection that `ss` saw in SYN_SENT just before it was established has not failed.
  const silent = established.filter((attempt) => / 10\.77\.3\.\d+ \d+$| fd77::3:\d+ \d+$/.test(attempt));
  expect(silent.length).toBeLessThanOrEqual(unseen.count);
});
