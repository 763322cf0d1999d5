import { deepEqual, equal } from 'node:assert/strict';
import { tcpsummary } from '#probes/tcpsummary/tcpsummary.ts';
import { HostPair } from '../../support/hosts.ts';
import { TestKernel } from '../../support/kernel.ts';
import { eventually } from '../../support/oracle.ts';
import { TcpHost } from '../../support/tcp_host.ts';
import { defineChecks } from '../check.ts';

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
}

const PORT = 7300;

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  return { pair, agent: resources.use(await TestKernel.open('{}', { probes: [tcpsummary] })) };
}

export const listeners = defineChecks('listeners', open, {
  'a full accept queue is an event with the kernel’s count of refusals': async ({ pair, agent }) => {
    const { netns } = pair.b;
    const address = pair.addressB.ipv4;
    const dropped = () => Number(/ListenDrops\s+(\d+)/.exec(netns.exec('nstat -asz TcpExtListenDrops'))?.[1]);
    await using host = new TcpHost(netns);
    await host.call('listen', { name: 'nobody', address, port: PORT, backlog: 1 });
    {
      await using client = new TcpHost(pair.a.netns);
      await client.call('connect', { name: 'c', address, port: PORT, count: 10, wait: false });
      await eventually(() => equal(dropped() > 7, true));
    }
    const events = await eventually(() => {
      const found = agent.events.filter(({ pod, type }) => pod === netns.name && type === 'accept_queue_full');
      equal(
        found.reduce((sum, { refused }) => sum + Number(refused), 0),
        dropped(),
      );
      return found;
    });
    const [first] = events;
    deepEqual([first?.['address'], first?.['port'], first?.['length'], first?.['limit']], [address, PORT, 2, 1]);
  },
});
