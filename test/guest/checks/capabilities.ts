import { equal, match } from 'node:assert/strict';
import { sh } from '../../support/command.ts';
import { defineChecks } from '../check.ts';
import { withQueues } from '../configurations.ts';
import { kernelFeatures } from '../features.ts';

/** The agent's capabilities in manifests/base. */
const DEFAULT = '-all,+bpf,+perfmon';

export const capabilities = defineChecks('capabilities', async () => undefined, {
  'objects with features that this kernel lacks load without CAP_SYS_ADMIN': async () => {
    const { hasPass, resetReasons, dropReasons, dropReceivers } = kernelFeatures();
    // Before 5.11, the memory of BPF maps counts towards RLIMIT_MEMLOCK, which the agent raises with CAP_SYS_RESOURCE.
    const set = hasPass ? DEFAULT : `${DEFAULT},+sys_resource`;
    const rows = sh(
      `setpriv --bounding-set ${set} --inh-caps ${set} --no-new-privs bin/netsonde check --config ${withQueues()}`,
    ).split('\n');
    const row = (probe: string) => rows.find((line) => line.startsWith(`${probe} `)) ?? '';
    match(row('tcpsummary'), hasPass ? / running +pass$/ : / unsupported .*needs CAP_SYS_ADMIN/);
    match(
      row('tcpreset'),
      resetReasons ? / running / : / degraded +fentry, tp_btf +resets sent: this kernel gives no reasons/,
    );
    match(row('packetloss'), dropReasons ? / running / : / degraded .* this kernel gives no reasons for drops/);
    match(row('packetloss'), dropReceivers ? / tp_btf\/kfree_skb$/ : / tp_btf( |$)/);
    match(row('qdisc'), / unsupported .*needs CAP_SYS_ADMIN$/);
    equal(
      rows.some((line) => line.includes('failed to iterate BTF objects')),
      false,
    );
  },
});
