import { deepEqual, equal, match } from 'node:assert/strict';
import type { MetricDescriptor } from '#probe/metric.ts';
import { PROBES } from '#probes/index.ts';
import type { TestKernel } from '../support/kernel.ts';
import { Inapplicable } from './check.ts';

/**
 * Checks that an agent on a kernel without a feature reports an enabled probe as unsupported for this reason, and shows
 * none of its metrics.
 * @throws Inapplicable, with the probe's reason, if this is so
 */
export async function expectUnsupported(agent: TestKernel, probe: string, reason: RegExp): Promise<never> {
  const status = agent.kernel.probes().find(({ name }) => name === probe);
  equal(status?.state, 'unsupported');
  match(status?.reason ?? '', reason);
  const { metrics = {} } = PROBES.find(({ name }) => name === probe) ?? {};
  const names = Object.values<MetricDescriptor>(metrics).map(({ name }) => name);
  const { samples } = await agent.page();
  deepEqual(
    samples.filter(({ name }) => names.includes(name.replace(/_(bucket|count|sum)$/, ''))),
    [],
  );
  throw new Inapplicable(`${probe} is unsupported: ${status?.reason}`);
}

/** Reason of probes that need atomic operations that return a value (5.12). */
export const NO_FETCHING_ATOMICS = /^ends of TCP sockets: .*; the programs use atomic operations that return a value, /;
