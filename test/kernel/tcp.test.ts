import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MetricDescriptor } from '#probe/metric.ts';
import { tcp } from '#probes/tcp.ts';
import { CountedPair, expectNstat, ofPod } from '../support/counters.ts';
import type { HostPair } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';

let resources: CountedPair;
let pair: HostPair;

beforeAll(async () => {
  resources = await CountedPair.create(only({ tcp: true }, { detail: 'full' }));
  ({ pair } = resources);
});

afterAll(() => resources?.[Symbol.asyncDispose]());

describe.each([
  ['the sender', () => pair.a],
  ['the receiver', () => pair.b],
])('%s', (_, hostOf) => {
  it('tcp equals nstat', async () => {
    const host = hostOf();
    // nstat prints no gauges. The table contains only one gauge.
    const counters = Object.values<MetricDescriptor>(tcp.metrics).filter(({ type }) => type === 'counter');
    const { page } = await expectNstat(resources, host, counters);
    expect(ofPod(page, host, 'netsonde_tcp_active_opens_total')).toBe(host === pair.a ? 12 : 0);
    expect(ofPod(page, host, 'netsonde_tcp_passive_opens_total')).toBe(host === pair.a ? 0 : 10);
    expect(ofPod(page, host, 'netsonde_tcp_established_connections')).toBe(4);
  });
});
