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

/** Time until all folded events have been sent. Events are folded for five seconds. */
const SETTLE_MS = 7_000;
/** Maximum number of times that the test waits for expected events, which may arrive late on a busy machine. */
const SETTLES_MAX = 10;

export interface SilenceOptions {
  readonly seconds: number;
  /** Fraction of the clients of a complete LAN to start. */
  readonly share: number;
  /**
   * Faults that are injected at the end, while the applications continue. At least one fault is required, to prove that
   * an agent that has reported nothing so far can report at all.
   */
  readonly faults: readonly Fault[];
  /** Called with the report. */
  readonly write?: (report: object) => void;
}

/**
 * Runs applications that do ordinary work in many namespaces. Checks that the agent counts no lost packet and sends no
 * warning, and that no application fails. Then injects faults, and checks that the agent reports exactly the events in
 * `expected`.
 */
export async function checkSilence({ seconds, share, faults, write }: SilenceOptions): Promise<void> {
  await using folder = await mkdtempDisposable(join(tmpdir(), 'lan-'));
  // Servers that do not run as root must be able to access the directory.
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
  /** The reported events, and the error if the fault could not be injected. */
  readonly seen: readonly string[];
  /** Unexpected events. */
  readonly unexpected: readonly EventRecord[];
}

function namespacesOf({ expected }: Fault, { prefix }: Lan): ReadonlySet<string> {
  return new Set(expected.map((line) => `${prefix}-${line.split(' ')[1]}`));
}

/** Renders an event in the format of `Fault.expected`: type and namespace. */
function lineOf({ type, pod }: EventRecord, { prefix }: Lan): string {
  return `${type} ${pod === null ? 'unknown' : pod.replace(`${prefix}-`, '')}`;
}

/** Returns whether an expected event is still missing. */
function isSilent({ expected }: Fault, events: readonly EventRecord[], lan: Lan): boolean {
  const lines = new Set(events.map((event) => lineOf(event, lan)));
  return !expected.every((line) => lines.has(line));
}

/** Compares the expected lines with the distinct lines of the events since the previous fault. */
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
