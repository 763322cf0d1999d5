import { chmodSync } from 'node:fs';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { expect } from 'vitest';
import type { EventRecord } from '#api/events.ts';
import { makeActivities } from './clients.ts';
import { type Fault, FaultScene } from './faults.ts';
import { Judge } from './judge.ts';
import { Lan } from './lan.ts';
import { report } from './report.ts';
import { startServers } from './servers.ts';
import { Traffic } from './traffic.ts';
import { Watch } from './watch.ts';

/** Until what is folded (five seconds) has been sent. */
const SETTLE_MS = 7_000;
/** A busy machine takes longer: what is expected is waited for so many times. */
const SETTLES_MAX = 10;

export interface SilenceOptions {
  readonly seconds: number;
  /** Share of the clients of a whole LAN. */
  readonly share: number;
  /** These happen then, while the applications go on: at least one, so that what was silent is known to speak. */
  readonly faults: readonly Fault[];
  /** Gets what was done and what was said. */
  readonly write?: (report: object) => void;
}

/**
 * Namespaces whose applications do what applications do, and an agent that has nothing to say about it: no packet is lost, no event is a
 * warning, and no application complains. Of a fault it says what was written down before, and nothing else.
 */
export async function checkSilence({ seconds, share, faults, write }: SilenceOptions): Promise<void> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'lan-'));
  // A server that is not root has its files in it.
  chmodSync(folder.path, 0o755);
  await using watch = await Watch.start(folder.path);
  using lan = new Lan();
  watch.follow(lan);
  await using servers = await startServers(lan, folder.path);
  const activities = makeActivities(lan, servers, share);
  using scene = new FaultScene(lan, servers);
  const judge = new Judge(watch);
  const settle = async () => {
    await wait(SETTLE_MS);
    await watch.read();
  };

  await using traffic = new Traffic(activities);
  await wait(seconds * 1_000);
  await settle();
  write?.(await report(watch, traffic, servers, lan.hosts));
  expect.soft(watch.totals('netsonde_packet_drops_total', 'reason')).toEqual({});
  expect.soft(judge.next()).toEqual([]);

  const told: FaultReport[] = [];
  for (const fault of faults) {
    const failures = await fault.happen(scene).then(
      () => [],
      (error: unknown) => [String(error)],
    );
    const events: EventRecord[] = [];
    for (let settles = 0; settles < SETTLES_MAX && isSilent(fault, events, lan); settles++) {
      await settle();
      events.push(...judge.next(namespacesOf(fault, lan)));
    }
    told.push(compare(fault, failures, events, lan));
  }
  await traffic[Symbol.asyncDispose]();
  write?.({ faults: told, errors: traffic.errors, excused: judge.excused });
  expect
    .soft(told.map(({ name, seen }) => ({ name, seen })))
    .toEqual(told.map(({ name, expected }) => ({ name, seen: expected })));
  expect.soft(told.flatMap(({ unexpected }) => unexpected)).toEqual([]);
  for (const [app, { requests }] of traffic.figures) expect.soft(requests, app).toBeGreaterThan(0);
  expect.soft(traffic.errors).toEqual([]);
}

interface FaultReport {
  readonly name: string;
  readonly expected: readonly string[];
  /** And why the fault could not be made. */
  readonly seen: readonly string[];
  /** What nobody had written down. */
  readonly unexpected: readonly EventRecord[];
}

function namespacesOf({ expected }: Fault, { prefix }: Lan): ReadonlySet<string> {
  return new Set(expected.map((line) => `${prefix}-${line.split(' ')[1]}`));
}

/** As it is written down before: the type and the namespace. */
function lineOf({ type, pod }: EventRecord, { prefix }: Lan): string {
  return `${type} ${pod === null ? 'unknown' : pod.replace(`${prefix}-`, '')}`;
}

/** Something that was expected has not been told yet. */
function isSilent({ expected }: Fault, events: readonly EventRecord[], lan: Lan): boolean {
  const lines = new Set(events.map((event) => lineOf(event, lan)));
  return !expected.every((line) => lines.has(line));
}

/** What was written down before, and types and namespaces of what was told since the last time, each once. */
function compare(
  { name, expected }: Fault,
  failures: readonly string[],
  events: readonly EventRecord[],
  lan: Lan,
): FaultReport {
  const lines = events.map((event) => lineOf(event, lan));
  const unexpected = events.filter((_, index) => !expected.includes(lines[index] ?? ''));
  return { name, expected, seen: [...new Set(lines), ...failures].sort(), unexpected };
}
