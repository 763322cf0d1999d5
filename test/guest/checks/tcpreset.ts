import { deepEqual, equal, match } from 'node:assert/strict';
import { HostPair } from '../../support/hosts.ts';
import { TestKernel } from '../../support/kernel.ts';
import { RESET_CASES, ResetCounter } from '../../support/reset_cases.ts';
import { type Family, growth, playScene } from '../../support/scene.ts';
import { defineChecks } from '../check.ts';
import { type Features, kernelFeatures } from '../features.ts';

interface Context {
  readonly pair: HostPair;
  readonly agent: TestKernel;
  readonly features: Features;
}

const FENTRY = ['tcp_reset_v4_entry', 'tcp_reset_v6_entry', 'tcp_reset_active_entry', 'tcp_reset_received_entry'];
const KPROBE = ['tcp_reset_v4_probe', 'tcp_reset_v6_probe', 'tcp_reset_active_probe', 'tcp_reset_received_probe'];

async function compare({ pair }: Context, programs: readonly string[], family: Family, port: number): Promise<void> {
  using counter = await ResetCounter.open(programs);
  for (const [index, one] of RESET_CASES.entries()) {
    const { derived: counted } = await counter.during(pair, () =>
      playScene(pair, family, `PORT = ${port + index}\n${one.program}`),
    );
    const received = Object.entries(one.counts).filter(([key]) => key.includes(' received '));
    deepEqual(counted, { ...one.derived, ...Object.fromEntries(received) }, one.name);
  }
}

async function open(resources: AsyncDisposableStack): Promise<Context> {
  const pair = resources.use(await HostPair.create());
  return { pair, agent: resources.use(await TestKernel.open()), features: kernelFeatures() };
}

export const tcpreset = defineChecks('tcpreset', open, {
  'chooses the functions where the tracepoint gives no reason': async ({ agent, features }) => {
    const table = (await agent.kernel.hooks()).find(({ probe }) => probe === 'tcpreset');
    const sent = table?.statuses.find(({ what }) => what === 'resets sent');
    const functions = ['fentry/tcp_v4_send_reset', 'fentry/tcp_v6_send_reset', 'fentry/tcp_send_active_reset'];
    deepEqual(sent?.hooks, features.resetReasons ? ['raw_tp/tcp_send_reset'] : functions);
    match(sent?.reason ?? '', features.resetReasons ? /^$/ : /^this kernel gives no reasons for resets/);
    const status = agent.kernel.probes().find(({ name }) => name === 'tcpreset');
    equal(status?.state, features.resetReasons ? 'running' : 'degraded');
  },

  'the agent counts a refused connection once at each end': async ({ pair, agent, features }) => {
    const [refused] = RESET_CASES;
    const pods = { a: pair.a.netns.name, b: pair.b.netns.name };
    for (const family of ['ipv4', 'ipv6'] as const) {
      const { grown } = await growth(agent, pods, 'netsonde_tcp_resets_total', 'reason', () =>
        playScene(pair, family, `PORT = 7190\n${refused?.program}`),
      );
      const received = { 'a received refused': 1 };
      deepEqual(grown, features.resetReasons ? refused?.counts : { ...refused?.derived, ...received }, family);
    }
  },

  'fentry counts each reset once, with a derived reason': (context) => compare(context, FENTRY, 'ipv4', 7_100),
  'kprobes do, too': (context) => compare(context, KPROBE, 'ipv6', 7_200),
});
