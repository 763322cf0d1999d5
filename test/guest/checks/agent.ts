import { deepEqual, equal, match } from 'node:assert/strict';
import { HostPair } from '../../support/hosts.ts';
import { only, probesOf, TestKernel } from '../../support/kernel.ts';
import { readBoth } from '../../support/oracle.ts';
import { defineChecks } from '../check.ts';
import { type Features, kernelFeatures } from '../features.ts';

/**
 * Disables all probes that cannot fall back to reading files, because loading their BPF programs takes a long time in a
 * guest.
 */
const CONFIG =
  '{ detail: full, probes: { tcpext: { fields: all }, qdisc: true, packetloss: false, flow: false, tcpconnect: false, tcpreset: false, tcpretrans: false } }';

interface Context {
  readonly pair: HostPair;
  readonly pass: TestKernel;
  readonly files: TestKernel;
  readonly features: Features;
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  const { a, b, addressB } = pair;
  for (const address of [addressB.ipv4, addressB.ipv6]) {
    await b.tcpServe({ address, port: 6000 });
    await a.tcpExchange({ address, port: 6000, count: 3, bytes: 20_000 });
    await b.udpReceive({ address, port: 6000 });
    await a.udpSend({ address, port: 6000, count: 5, bytes: 100 });
    await a.udpSend({ address, port: 6009, count: 2, bytes: 100 });
  }
  const pass = resources.use(await TestKernel.open(CONFIG));
  // Without object files, the agent cannot load BPF programs, so it reads files instead.
  const files = resources.use(await TestKernel.open(CONFIG, { objects: '/nowhere' }));
  return { pair, pass, files, features: kernelFeatures() };
}

function reasonOf(agent: TestKernel, name: string): string {
  const status = agent.kernel.probes().find((probe) => probe.name === name);
  return `${status?.state} ${status?.reason}`;
}

/** Returns all samples of the two namespaces on a page. */
async function samplesOf(agent: TestKernel, { a, b }: HostPair): Promise<Record<string, string>> {
  const { samples } = await agent.page();
  return Object.fromEntries(
    samples
      .filter(({ labels }) => labels['pod'] === a.netns.name || labels['pod'] === b.netns.name)
      .map(({ name, labels, value }) => [`${name} ${JSON.stringify(labels)}`, value]),
  );
}

export const agent = defineChecks('agent', open, {
  'the walk and the files give the same page': async ({ pair, pass, files, features }) => {
    const { oracle, ours } = await readBoth(
      () => samplesOf(files, pair),
      () => samplesOf(pass, pair),
    );
    deepEqual(ours, oracle);
    const readers = [pass, files].map((agent) => agent.kernel.probes().find(({ name }) => name === 'tcpext')?.reader);
    deepEqual(readers, [features.hasPass ? 'pass' : 'files', 'files']);
    equal(Object.values(ours).filter((value) => Number(value) > 0).length > 15, true);
    equal(ours[`netsonde_tcp_active_opens_total {"namespace":"","pod":"${pair.a.netns.name}"}`], '6');
  },

  'probes report the module that they lack': async ({ pass }) => {
    await pass.kernel.configure(probesOf(only({ ipvs: true, rdma: true })));
    match(reasonOf(pass, 'ipvs'), /^unsupported .*\/proc\/net\/ip_vs_stats is missing: .*module ip_vs /);
    match(reasonOf(pass, 'rdma'), /^degraded no RDMA device found in \/sys\/class\/infiniband/);
  },
});
