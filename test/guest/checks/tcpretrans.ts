import { deepEqual, equal, ok } from 'node:assert/strict';
import { HostPair } from '../../support/hosts.ts';
import { only, TestKernel } from '../../support/kernel.ts';
import { eventually } from '../../support/oracle.ts';
import {
  PATH_MTU_PROGRAM,
  RETRANSMIT_CASES,
  RETRANSMIT_PROBES,
  type RetransmitCase,
  severityOf,
  tcpCounters,
} from '../../support/retransmit_cases.ts';
import { RoutedPair } from '../../support/routed_pair.ts';
import { eventsOf, FAMILIES, growth, playScene } from '../../support/scene.ts';
import { defineChecks } from '../check.ts';

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  return { pair, agent: resources.use(await TestKernel.open(only(RETRANSMIT_PROBES))) };
}

/**
 * Plays one case. Checks that the counts by cause agree with the kernel's counters, and that each retransmission caused
 * exactly one event.
 */
async function play({ pair, agent }: Context, one: RetransmitCase, firstPort: number): Promise<void> {
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  const sender = pair[one.sender].netns;
  for (const [turn, family] of FAMILIES.entries()) {
    const port = firstPort + turn;
    const before = tcpCounters(sender);
    const { grown } = await growth(agent, pods, 'netsonde_tcp_retransmits_total', 'kind', () =>
      playScene(pair, family, `PORT = ${port}\n${one.program}`),
    );
    const after = tcpCounters(sender);
    const more = (name: string) => (after[name] ?? 0) - (before[name] ?? 0);
    const expected = Object.entries(one.kinds).map(([kind, name]) => [`${one.sender} ${kind}`, more(name)]);
    deepEqual(grown, Object.fromEntries(expected), family);
    const total = Object.values(grown).reduce((sum, count) => sum + count, 0);
    ok(total > 0);
    equal(total, more('TcpRetransSegs'));
    await eventually(() => equal(eventsOf(agent, port).length, total));
    for (const event of eventsOf(agent, port)) {
      equal(event.severity, severityOf(one, event));
      equal(event['state'], one.state);
      equal(event.pod, sender.name);
      equal(event.netns, String(sender.id));
    }
  }
}

/** Checks that retransmissions due to a smaller path MTU neither count as timeouts nor cause a warning. */
async function playPathMtu({ agent }: Context): Promise<void> {
  for (const family of FAMILIES) {
    using routed = new RoutedPair();
    const sender = routed.a.netns;
    const before = tcpCounters(sender);
    const { grown } = await growth(agent, { a: sender.name }, 'netsonde_tcp_retransmits_total', 'kind', () =>
      playScene(routed, family, `PORT = 7390\n${PATH_MTU_PROGRAM}`),
    );
    const after = tcpCounters(sender);
    deepEqual(Object.keys(grown), ['a mtu'], family);
    equal(after['TcpExtTCPTimeouts'] ?? 0, before['TcpExtTCPTimeouts'] ?? 0);
    const events = () => eventsOf(agent, 7_390).filter(({ pod }) => pod === sender.name);
    await eventually(() => equal(events().length, grown['a mtu']));
    ok(events().every(({ severity, kind }) => severity === 'info' && kind === 'mtu'));
  }
}

export const tcpretrans = defineChecks('tcpretrans', open, {
  ...Object.fromEntries(
    RETRANSMIT_CASES.map((one, index) => [one.name, (context: Context) => play(context, one, 7_300 + 2 * index)]),
  ),
  'a path with a smaller MTU': playPathMtu,
});
