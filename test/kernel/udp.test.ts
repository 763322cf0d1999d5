import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { udp } from '#probes/udp.ts';
import { CountedPair, expectNstat, ofPod } from '../support/counters.ts';
import type { HostPair } from '../support/hosts.ts';
import { only } from '../support/kernel.ts';

let resources: CountedPair;
let pair: HostPair;

beforeAll(async () => {
  resources = await CountedPair.create(only({ udp: true }, { detail: 'full' }));
  ({ pair } = resources);
});

afterAll(() => resources?.[Symbol.asyncDispose]());

describe.each([
  ['the sender', () => pair.a],
  ['the receiver', () => pair.b],
])('%s', (_, hostOf) => {
  it('udp equals nstat, IPv4 and IPv6', async () => {
    const host = hostOf();
    const { page } = await expectNstat(resources, host, Object.values(udp.metrics));
    for (const family of ['ipv4', 'ipv6']) {
      expect(ofPod(page, host, 'netsonde_udp_no_port_total', { family })).toBe(host === pair.a ? 0 : 3);
    }
  });
});
