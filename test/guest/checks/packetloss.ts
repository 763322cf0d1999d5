import { deepEqual, equal, match, ok } from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import type { EventRecord } from '#api/events.ts';
import { run } from '../../support/command.ts';
import { DROP_CASES } from '../../support/drop_cases.ts';
import { HostPair } from '../../support/hosts.ts';
import { probesOf, TestKernel } from '../../support/kernel.ts';
import { eventually, retry } from '../../support/oracle.ts';
import { endpoint, FAMILIES, growth, playScene } from '../../support/scene.ts';
import { defineChecks } from '../check.ts';
import { type Features, kernelFeatures } from '../features.ts';

const DROPS = 'netsonde_packet_drops_total';
const config = (options: string) => `{ probes: { packetloss: ${options}, tcpretrans: false, tcpreset: false } }`;

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
  readonly features: Features;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  for (const rule of [
    'add table inet t',
    'add chain inet t in { type filter hook input priority 0; }',
    'add rule inet t in udp dport 7001 counter drop',
  ]) {
    run('ip', 'netns', 'exec', pair.b.netns.name, 'nft', rule);
  }
  return { pair, agent: resources.use(await TestKernel.open(config('{}'))), features: kernelFeatures() };
}

/** Sends datagrams to a port of b, where they are dropped. Each must be counted in b alone and cause one event. */
async function dropAll({ pair, agent }: Context, port: number, reason: string, symbol: RegExp): Promise<EventRecord[]> {
  const count = 12;
  const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
  const all: EventRecord[] = [];
  for (const family of FAMILIES) {
    agent.events.length = 0;
    // The kernel sends its own packets in a new namespace. The counts are wrong if such packets are dropped during the
    // check, so the check is retried.
    const { ends } = await retry(async () => {
      const { grown, result } = await growth(agent, pods, DROPS, 'reason', () =>
        pair.a.udpSend({ address: pair.addressB[family], port, count, bytes: 20 }),
      );
      const others = agent.events.filter((event) => event['reason'] !== reason);
      deepEqual(grown, { [`b ${reason}`]: count }, `${family}: ${JSON.stringify({ grown, others })}`);
      return { ends: { src: endpoint(pair.addressA[family], result), dst: endpoint(pair.addressB[family], port) } };
    });
    const events = await eventually(() => {
      const found = agent.events.filter(({ src, dst }) => src === ends.src && dst === ends.dst);
      equal(found.length, count);
      return found;
    });
    for (const event of events) {
      equal(event.pod, pods.b);
      equal(event.netns, String(pair.b.netns.id));
      equal(event['reason'], reason);
      equal(event['device'], pair.deviceB);
      // The length includes the headers, except that some functions run after the kernel has removed the IP header.
      ok([28, 28 + (family === 'ipv4' ? 20 : 40)].includes(Number(event['length'])), `${event['length']} bytes`);
      match(String(event['symbol']), symbol);
    }
    all.push(...events);
  }
  return all;
}

const UDP = /^(__)?udp\w*rcv(\.\w+)*\+0x[0-9a-f]+\/0x[0-9a-f]+$/;
/**
 * The function that frees the packet. In an inet table, it is either nft_do_chain itself or nf_hook_slow, depending on
 * the kernel.
 */
const FILTER = /^(nft_do_chain\+0x[0-9a-f]+\/0x[0-9a-f]+ \[nf_tables\]|nf_hook_slow\+0x[0-9a-f]+\/0x[0-9a-f]+)$/;

export const packetloss = defineChecks('packetloss', open, {
  'counts packets that a firewall drops, and names the function': async (context) => {
    await dropAll(context, 7001, context.features.dropReasons ? 'NETFILTER_DROP' : 'unknown', FILTER);
  },

  'counts datagrams for a closed port, and names the function': async (context) => {
    await dropAll(context, 7009, context.features.dropReasons ? 'NO_SOCKET' : 'unknown', UDP);
  },

  'counts datagrams that find a full receive buffer, on the namespace of the socket': async ({
    agent,
    pair,
    features,
  }) => {
    const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
    const reason = features.dropReasons ? 'SOCKET_RCVBUFF' : 'unknown';
    const full = DROP_CASES.find(({ name }) => name === 'a full receive buffer');
    for (const family of FAMILIES) {
      agent.events.length = 0;
      const { grown, result } = await growth(agent, pods, DROPS, 'reason', () =>
        playScene(pair, family, `PORT = 7011\n${full?.program}`),
      );
      const count = result.printed[0] ?? 0;
      ok(count > 0);
      deepEqual(grown, { [`b ${reason}`]: count }, family);
      await eventually(() => {
        const found = agent.events.filter(({ dst, pod }) => dst?.endsWith(':7011') && pod === pods.b);
        equal(found.length, count);
      });
    }
  },

  'shows the stack': async (context) => {
    await context.agent.kernel.configure(probesOf(config('{ stack: true }')));
    const reason = context.features.dropReasons ? 'NETFILTER_DROP' : 'unknown';
    for (const event of await dropAll(context, 7001, reason, FILTER)) {
      const stack = event['stack'] as string[];
      equal(stack[0], event['symbol']);
      match(stack.join(), /nf_hook_slow\+0x.*ip6?_(input|local_deliver)/);
    }
  },

  'does not count neighbour discovery and errors reported by ICMPv6 as loss': async ({ agent, pair, features }) => {
    await agent.kernel.configure(probesOf(config('{}')));
    agent.events.length = 0;
    const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
    await pair.b.udpReceive({ address: '::', port: 7010 });
    const { grown } = await growth(agent, pods, DROPS, 'reason', async () => {
      for (const family of FAMILIES) {
        for (const { netns } of [pair.a, pair.b]) netns.ip('neigh flush all');
        await pair.a.udpSend({ address: pair.addressB[family], port: 7010, count: 5, bytes: 20 });
      }
    });
    deepEqual(grown, {}, JSON.stringify(agent.events));
    // The kernel sends at most one ICMP error per second, so the check waits before it causes the next one.
    await wait(1_100);
    const refused = await growth(agent, pods, DROPS, 'reason', () =>
      pair.a.udpSend({ address: pair.addressB.ipv6, port: 7009, count: 1, bytes: 20 }),
    );
    deepEqual(
      refused.grown,
      { [`b ${features.dropReasons ? 'NO_SOCKET' : 'unknown'}`]: 1 },
      JSON.stringify(agent.events),
    );
  },

  'does not count multicast without a member as loss': async ({ agent, pair }) => {
    const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
    pair.a.netns.ip(`route add 239.0.0.0/8 dev ${pair.deviceA}`);
    const { grown } = await growth(agent, pods, DROPS, 'reason', () =>
      pair.a.udpSend({ address: '239.1.2.3', port: 7010, count: 5, bytes: 20 }),
    );
    deepEqual(grown, {}, JSON.stringify(agent.events));
  },
});
