import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FlowSums, keyOf } from '../support/flow_sums.ts';
import { FlowTraffic, TRAFFIC_KINDS, type TrafficKind } from '../support/flow_traffic.ts';
import { nstatOf, socketSums } from '../support/socket_sums.ts';

const COUNTERS = ['TcpActiveOpens', 'TcpPassiveOpens', 'TcpAttemptFails', 'TcpEstabResets', 'TcpExtListenDrops'];

/**
 * Kinds of traffic that require another kind to have run first, such as `release`, which closes connections that `hold`
 * opened.
 */
const BEGUN_BY: Partial<Record<TrafficKind, TrafficKind>> = { release: 'hold', whole: 'half' };
/** Kinds of traffic in which some bytes are sent but never received. */
const LOSSY: readonly TrafficKind[] = ['in_flight', 'lost_reset', 'silent_peer'];
/** Kinds of traffic that have to wait for a timer. */
const SLOW: readonly TrafficKind[] = ['timeout', 'silent_peer', 'unreachable'];

/** Pause between two readings while traffic is running. */
const LOOK_MS = 10;

let traffic: FlowTraffic;

beforeAll(async () => {
  traffic = await FlowTraffic.start();
});

afterAll(() => traffic[Symbol.asyncDispose]());

/**
 * Checks that every sum has a single possible value, and that the kernel's counters in both namespaces changed exactly
 * as the generator predicts.
 */
async function expectSettled(): Promise<void> {
  const sums = await traffic.rest();
  for (const row of sums.rows) {
    for (const [min, max] of [row.sent, row.received, row.connections])
      expect([keyOf(row), min]).toEqual([keyOf(row), max]);
  }
  for (const netns of [traffic.a, traffic.b]) {
    const expected = Object.fromEntries(COUNTERS.map((name) => [name, sums.counters[netns.name]?.[name] ?? 0]));
    expect(nstatOf(netns, COUNTERS)).toEqual(expected);
  }
}

/** Returns the number of bytes that were sent but not received. */
function lost({ rows }: FlowSums): number {
  return rows.reduce((sum, { sent, received }) => sum + sent[1] - received[1], 0);
}

describe('the generator of known traffic', () => {
  // Before the generator closes a socket, it compares its own byte counts with TCP_INFO, and fails if they differ.
  it.each(TRAFFIC_KINDS)("knows the kernel's numbers of the kind %s", async (kind: TrafficKind) => {
    const before = lost(await traffic.sums());
    await traffic.play({ [BEGUN_BY[kind] ?? kind]: 1, [kind]: 1 }, SLOW.includes(kind) ? 10 : 40);
    await expectSettled();
    const after = lost(await traffic.sums());
    if (LOSSY.includes(kind)) expect(after).toBeGreaterThan(before);
    else expect(after).toBe(before);
    await traffic.closeAll();
    await expectSettled();
    expect((await traffic.sums()).rows.filter(({ open: [min, max] }) => min !== 0 || max !== 0)).toEqual([]);
  });

  it('has the bytes of sockets that stay as ss shows them', async () => {
    await using traffic = await FlowTraffic.start();
    await traffic.play({ hold: 3, chat: 10, half: 1 }, 400);
    const { rows } = await traffic.rest();
    const ofSockets = new Map([...socketSums(traffic.a), ...socketSums(traffic.b)]);
    expect(
      Object.fromEntries(rows.map((row) => [keyOf(row), { sent: row.sent[1], received: row.received[1] }])),
    ).toEqual(
      Object.fromEntries(
        rows.map((row) => {
          const { sent = 0, received = 0 } = ofSockets.get(keyOf(row)) ?? {};
          return [keyOf(row), { sent, received }];
        }),
      ),
    );
    expect(rows.reduce((sum, { sent }) => sum + sent[1], 0)).toBeGreaterThan(1_000_000);
  });

  it('has limits under traffic that hold, and that meet at rest', async () => {
    const weights = Object.fromEntries(TRAFFIC_KINDS.map((kind) => [kind, kind === 'short' ? 10 : 1]));
    let isPlaying = true;
    const playing = traffic.play(weights, 300).finally(() => {
      isPlaying = false;
    });
    let before = new Map<string, number>();
    const look = async () => {
      const { rows } = await traffic.sums();
      const now = new Map(rows.map((row) => [keyOf(row), row.sent[0]]));
      for (const row of rows) {
        expect(row.sent[0]).toBeLessThanOrEqual(row.sent[1]);
        expect(row.received[0]).toBeLessThanOrEqual(row.received[1]);
        expect(row.sent[0]).toBeGreaterThanOrEqual(before.get(keyOf(row)) ?? 0);
      }
      before = now;
    };
    const looking = (async () => {
      for (; isPlaying; await wait(LOOK_MS)) await look();
    })();
    await Promise.all([playing, looking]);
    await expectSettled();
  });
});
