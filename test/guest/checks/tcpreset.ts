import { deepEqual, match } from 'node:assert/strict';
import { sh } from '../../support/command.ts';
import { HostPair } from '../../support/hosts.ts';
import { RESET_CASES, ResetCounter } from '../../support/reset_cases.ts';
import { type Family, playScene } from '../../support/scene.ts';
import { defineChecks } from '../check.ts';

interface Context {
  readonly pair: HostPair;
}

const FENTRY = ['tcp_reset_v4_entry', 'tcp_reset_v6_entry', 'tcp_reset_active_entry', 'tcp_reset_received_entry'];
const KPROBE = ['tcp_reset_v4_probe', 'tcp_reset_v6_probe', 'tcp_reset_active_probe', 'tcp_reset_received_probe'];

async function compare({ pair }: Context, programs: readonly string[], family: Family, port: number): Promise<void> {
  using counter = await ResetCounter.open(programs);
  for (const [index, one] of RESET_CASES.entries()) {
    const counted = await counter.during(pair, () => playScene(pair, family, `PORT = ${port + index}\n${one.program}`));
    const received = Object.entries(one.counts).filter(([key]) => key.includes(' received '));
    deepEqual(counted, { ...one.derived, ...Object.fromEntries(received) }, one.name);
  }
}

export const tcpreset = defineChecks(
  'tcpreset',
  async (resources) => ({ pair: resources.use(await HostPair.create()) }),
  {
    'chooses the functions where the tracepoint gives no reason': async () => {
      const row =
        sh('bin/netsonde check')
          .split('\n')
          .find((line) => /^tcpreset +resets sent/.test(line)) ?? '';
      match(
        row,
        /fentry\/tcp_v4_send_reset, fentry\/tcp_v6_send_reset, fentry\/tcp_send_active_reset +this kernel gives no reasons/,
      );
    },

    'fentry counts each reset once, with a reason of ours': (context) => compare(context, FENTRY, 'ipv4', 7_100),
    'kprobes do as well': (context) => compare(context, KPROBE, 'ipv6', 7_200),
  },
);
