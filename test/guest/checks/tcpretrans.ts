import { deepEqual, equal, ok } from 'node:assert/strict';
import { HostPair } from '../../support/hosts.ts';
import { TestKernel } from '../../support/kernel.ts';
import { eventually } from '../../support/oracle.ts';
import { RETRANSMIT_CASES, type RetransmitCase, tcpCounters } from '../../support/retransmit_cases.ts';
import { eventsOf, FAMILIES, growth, playScene } from '../../support/scene.ts';
import { defineChecks } from '../check.ts';

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  return { pair, agent: resources.use(await TestKernel.open('{ probes: { packetloss: false, tcpreset: false } }')) };
}

/** As the kernel counts, by what made it send again, with an event for each. */
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
      equal(event['state'], one.state);
      equal(event.pod, sender.name);
      equal(event.netns, String(sender.id));
    }
  }
}

export const tcpretrans = defineChecks(
  'tcpretrans',
  open,
  Object.fromEntries(
    RETRANSMIT_CASES.map((one, index) => [one.name, (context) => play(context, one, 7_300 + 2 * index)]),
  ),
);
