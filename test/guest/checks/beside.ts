import { besideChecks, checkExclusiveProgram, openBeside } from '../../support/beside.ts';
import { HostPair } from '../../support/hosts.ts';
import type { TestKernel } from '../../support/kernel.ts';
import { defineChecks } from '../check.ts';
import { kernelFeatures } from '../features.ts';
import { expectUnsupported, NO_FETCHING_ATOMICS } from '../unsupported.ts';

/** Returns if this kernel supports the programs of `flow`. */
async function expectFlows(agent: TestKernel): Promise<void> {
  if (!kernelFeatures().fetchingAtomics) await expectUnsupported(agent, 'flow', NO_FETCHING_ATOMICS);
}

export const beside = defineChecks(
  'beside',
  async (resources) => openBeside(resources.use(await HostPair.create()), resources),
  {
    'flows are right beside the programs of others': async (context) => {
      await expectFlows(context.agent);
      for (const [title, check] of Object.entries(besideChecks())) {
        process.stdout.write(`${title}\n`);
        await check(context);
      }
    },

    'flows are right beside a program that permits no other at the root of the cgroups': async (context) => {
      await expectFlows(context.agent);
      await checkExclusiveProgram(context);
    },
  },
);
