import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { countClosedLate } from '../support/closed_late.ts';
import { sampleValue } from '../support/exposition.ts';
import { FEW_ROWS, flowAgent, MANY_ROWS, PRESSED, retransmitted, runFlows } from '../support/flow_run.ts';
import type { FlowSums } from '../support/flow_sums.ts';
import { FlowTraffic } from '../support/flow_traffic.ts';
import { nstatOf } from '../support/socket_sums.ts';

/** Limits that exceed the number of edges of any Pod in this test. */
const ALL_EDGES = { edges: 1_000, ports: 1_000 };

let traffic: FlowTraffic;

beforeEach(async () => {
  traffic = await FlowTraffic.start({ seed: String(process.pid), addresses: 8 });
});

afterEach(() => traffic[Symbol.asyncDispose]());

/** Returns the number of failed connections by namespace and cause. */
function failuresOf({ rows }: FlowSums): Record<string, number> {
  const failures: Record<string, number> = {};
  for (const { netns, failed } of rows) {
    for (const [cause, count] of Object.entries(failed)) {
      failures[`${netns} ${cause}`] = (failures[`${netns} ${cause}`] ?? 0) + count;
    }
  }
  return failures;
}

describe('flows', () => {
  it('are exact for each edge where there is room for all, and failures and retransmissions are those of the kernel', async () => {
    const { violations, scrapes, edges, last, sums } = await runFlows({
      traffic,
      open: flowAgent(MANY_ROWS, ALL_EDGES, { tcpconnect: { enabled: true } }),
      rests: 8,
      connections: 150,
      scrapers: 2,
      restarts: [],
      isComplete: true,
    });
    expect(violations).toEqual([]);
    expect(scrapes).toBeGreaterThan(8);
    expect(edges).toBeGreaterThan(64);
    const failures = failuresOf(sums);
    const shown = Object.keys(failures).map((key) => {
      const [pod = '', cause = ''] = key.split(' ');
      return [key, sampleValue(last, 'netsonde_tcp_connect_failures_total', { pod, cause })];
    });
    expect(Object.fromEntries(shown)).toEqual(failures);
    for (const netns of [traffic.a, traffic.b]) {
      expect(retransmitted(last, netns.name)).toBe(nstatOf(netns, ['TcpRetransSegs'])['TcpRetransSegs']);
    }
  });

  it('are exact in sum with fewer rows than keys, evictions and a restart of the agent', async () => {
    const { violations, exact, edges, last, sums } = await runFlows({
      ...PRESSED,
      traffic,
      rests: 24,
      restarts: [12],
    });
    expect(violations).toEqual([]);
    expect(sampleValue(last, 'netsonde_flow_evicted_rows_total', {})).toBeGreaterThan(0);
    for (const { name } of [traffic.a, traffic.b]) {
      const keys = sums.rows.filter(({ netns }) => netns === name).length;
      expect(keys).toBeGreaterThan(3 * FEW_ROWS);
      expect(keys).toBeGreaterThan(64);
    }
    expect(edges).toBeGreaterThan(FEW_ROWS);
    expect(edges).toBeLessThanOrEqual(64);
    expect(exact).toBeGreaterThan(0);
  });

  it('are too high where ended sockets are counted after the open ones', async () => {
    using _late = countClosedLate();
    const { violations } = await runFlows({
      traffic,
      open: flowAgent(MANY_ROWS, ALL_EDGES),
      rests: 20,
      connections: 200,
      scrapers: 3,
      restarts: [],
    });
    const tooHigh = violations.filter((violation) => / above | more than /.test(violation));
    expect(tooHigh.length).toBeGreaterThan(0);
    expect(tooHigh).toEqual(violations);
  });
});
