import { deepEqual, equal, match } from 'node:assert/strict';
import { TestPod } from '../../support/cgroups.ts';
import { TestKernel } from '../../support/kernel.ts';
import { eventually } from '../../support/oracle.ts';
import { liveShortly, totalsOf } from '../../support/short_pods.ts';
import { defineChecks } from '../check.ts';
import { kernelFeatures } from '../features.ts';

const CGROUP = '/sys/fs/cgroup';
const PODS = 5;
const WITHIN_MS = 20_000;

export const lifecycle = defineChecks('lifecycle', async (resources) => resources.use(await TestKernel.open()), {
  'the kernel’s list is the source of the processes': async (agent) => {
    const reader = kernelFeatures().hasPass ? 'pass' : 'files';
    equal((await agent.text()).includes(`netsonde_discovery_reader_info{reader="${reader}"} 1\n`), true);
  },

  'Pods that live for moments are seen, and their last counters are exact': async (agent) => {
    if (!kernelFeatures().hasPass) {
      await agent.page();
      const status = agent.kernel.probes().find(({ name }) => name === 'lifecycle');
      match(
        `${status?.state} ${status?.reader} ${status?.reason}`,
        /^degraded scan this kernel lacks the BPF helper bpf_loop/,
      );
      equal(agent.kernel.discovery().state, 'degraded');
      equal(agent.kernel.discovery().reason, status?.reason);
      return;
    }
    await using stack = new AsyncDisposableStack();
    const pods = Array.from({ length: PODS }, () => stack.use(new TestPod(CGROUP)));
    const texts = await liveShortly(pods);
    for (const [index, { uid }] of pods.entries()) {
      const expected = totalsOf(texts[index] ?? '');
      const event = await eventually(() => {
        const found = agent.events.find((one) => one['type'] === 'pod_departed' && one['pod'] === uid);
        if (found === undefined) throw new Error(`no event of ${uid}`);
        return found;
      }, WITHIN_MS);
      deepEqual(Object.fromEntries(Object.keys(expected).map((name) => [name, event[name]])), expected);
    }
  },
});
