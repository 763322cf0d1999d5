import { deepEqual, ok } from 'node:assert/strict';
import { type Closed, closedOn, closeMany, delayPackets } from '../../support/busy_closes.ts';
import { withCopies } from '../../support/flow_copies.ts';
import { flowAgent, MANY_ROWS, runFlows } from '../../support/flow_run.ts';
import { FlowTraffic } from '../../support/flow_traffic.ts';
import { HostPair } from '../../support/hosts.ts';
import { only, TestKernel } from '../../support/kernel.ts';
import { defineChecks } from '../check.ts';
import { kernelFeatures, tracepointsArePreemptible } from '../features.ts';
import { expectUnsupported, NO_FETCHING_ATOMICS } from '../unsupported.ts';

const CONFIG = only({
  flow: { enabled: true, detail: 'full', edges: 1_000, identity: 'address', loopback: true },
});
const ALL = 3;
/**
 * Number of loop iterations with which the first copy runs for about 50 µs in a guest. If it ran ten times as long,
 * even three copies would miss one in several thousand closed sockets on kernels that can preempt programs.
 */
const SLOW = 500;
/** Number of connections that each process opens in a round. */
const CONNECTIONS = 40;
const ROUNDS = 10;
/** Maximum number of sockets that all copies may miss in all rounds, where tasks can interrupt programs. */
const ALLOWED = 3;

/**
 * Opens an agent with this number of copies of the handler, and returns the number of closed sockets that it misses per
 * round.
 */
async function missedBy(pair: HostPair, copies: number, delay: number, rounds: number) {
  using _copies = withCopies({ copies, delay });
  await using agent = await TestKernel.open(CONFIG);
  let before = closedOn(await agent.page(), pair);
  const missed: Closed[] = [];
  for (let round = 0; round < rounds; round++) {
    const expected = await closeMany(pair, CONNECTIONS);
    const after = closedOn(await agent.page(), pair);
    missed.push({
      connections: expected.connections - (after.connections - before.connections),
      bytes: expected.bytes - (after.bytes - before.bytes),
    });
    before = after;
  }
  const skipped = ((await agent.page()).named.get('netsonde_probe_missed_total') ?? [])
    .filter(({ labels }) => labels['probe'] === 'flow')
    .map(({ labels, value }) => [labels['program'], Number(value)] as const);
  process.stdout.write(
    `${copies} copies, delay ${delay}: missed ${JSON.stringify(missed.map(({ connections }) => connections))} of ${2 * 8 * CONNECTIONS} each, skipped ${JSON.stringify(skipped)}\n`,
  );
  return { missed, skipped: new Map(skipped) };
}

const total = (missed: readonly Closed[]) => missed.reduce((sum, { connections }) => sum + connections, 0);

/** Wraps a check that needs the BPF programs. If they cannot be loaded, the probe must report the reason instead. */
const check = (play: (pair: HostPair) => Promise<void>) => async (pair: HostPair) => {
  if (kernelFeatures().fetchingAtomics) return play(pair);
  await using agent = await TestKernel.open(CONFIG);
  await expectUnsupported(agent, 'flow', NO_FETCHING_ATOMICS);
};

export const flows = defineChecks(
  'flows',
  async (resources) => {
    const pair = resources.use(await HostPair.create());
    delayPackets(pair);
    return pair;
  },
  {
    'one slow copy of the handler misses closed sockets, and the agent reports skipped runs': check(async (pair) => {
      const { missed, skipped } = await missedBy(pair, 1, SLOW, ROUNDS);
      ok(total(missed) > 0);
      ok((skipped.get('tcp_end') ?? 0) > 0);
    }),

    'a second copy counts nearly all that the first one misses': check(async (pair) => {
      const { missed, skipped } = await missedBy(pair, 2, SLOW, ROUNDS);
      ok((skipped.get('tcp_end') ?? 0) > 0);
      ok(total(missed) <= ROUNDS);
    }),

    'all copies together miss no closed socket and no byte': check(async (pair) => {
      const { missed } = await missedBy(pair, ALL, 0, ROUNDS);
      deepEqual(missed, new Array(ROUNDS).fill({ connections: 0, bytes: 0 }));
    }),

    'all copies together miss none if the first one is slow, unless tasks can interrupt them': check(async (pair) => {
      const { missed, skipped } = await missedBy(pair, ALL, SLOW, ROUNDS);
      if (!tracepointsArePreemptible()) {
        deepEqual(missed, new Array(ROUNDS).fill({ connections: 0, bytes: 0 }));
        return;
      }
      // A socket is missed if at least three tasks of the CPU were interrupted, each of them in another copy. The third
      // copy's skipped runs show it.
      ok(total(missed) <= ALLOWED);
      ok(total(missed) <= (skipped.get('tcp_end_third') ?? 0));
    }),

    'traffic of every kind is exact for each edge': check(async () => {
      await using traffic = await FlowTraffic.start({ addresses: 4 });
      const open = flowAgent(MANY_ROWS, { edges: 1_000, ports: 1_000 });
      const {
        violations,
        last: _,
        sums: __,
        ...figures
      } = await runFlows({
        traffic,
        open,
        rests: 6,
        connections: 60,
        scrapers: 2,
        restarts: [],
        isComplete: true,
      });
      process.stdout.write(`${JSON.stringify(figures)}\n`);
      deepEqual(violations, []);
      ok(figures.exact > 0);
    }),
  },
);
