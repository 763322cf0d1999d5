import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { netdev } from '#probes/netdev.ts';
import { CountedPair, ofPod } from '../support/counters.ts';
import type { HostPair } from '../support/hosts.ts';
import type { TestKernel } from '../support/kernel.ts';
import { readBoth } from '../support/oracle.ts';

let pair: HostPair;
let agent: TestKernel;
let resources: CountedPair;

beforeAll(async () => {
  resources = await CountedPair.create('{ detail: full, probes: { netdev: { loopback: true } } }');
  ({ pair, agent } = resources);
});

afterAll(() => resources?.[Symbol.asyncDispose]());

describe.each([
  ['the sender', () => pair.a],
  ['the receiver', () => pair.b],
])('%s', (_, hostOf) => {
  it('netdev equals ip -s link, for each device', async () => {
    const host = hostOf();
    interface Link {
      ifname: string;
      stats64: { rx: Record<string, number>; tx: Record<string, number> };
    }
    const { oracle, ours } = await readBoth(
      () => JSON.parse(host.netns.exec('ip -s -s -j link')) as Link[],
      () => agent.page(),
    );
    expect(oracle.map(({ ifname }) => ifname).sort()).toEqual(
      ['lo', host === pair.a ? pair.deviceA : pair.deviceB].sort(),
    );
    for (const { ifname, stats64 } of oracle) {
      const { rx, tx } = stats64;
      const expected: Record<string, number | undefined> = {
        received_bytes: rx['bytes'],
        received_packets: rx['packets'],
        received_errors: rx['errors'],
        received_drops: (rx['dropped'] ?? 0) + (rx['missed_errors'] ?? rx['missed'] ?? 0),
        received_fifo_errors: rx['fifo_errors'],
        received_frame_errors:
          (rx['length_errors'] ?? 0) + (rx['over_errors'] ?? 0) + (rx['crc_errors'] ?? 0) + (rx['frame_errors'] ?? 0),
        received_multicast: rx['multicast'],
        sent_bytes: tx['bytes'],
        sent_packets: tx['packets'],
        sent_errors: tx['errors'],
        sent_drops: tx['dropped'],
        sent_fifo_errors: tx['fifo_errors'],
        sent_carrier_errors:
          (tx['carrier_errors'] ?? 0) +
          (tx['aborted_errors'] ?? 0) +
          (tx['window_errors'] ?? 0) +
          (tx['heartbeat_errors'] ?? 0),
        collisions: tx['collisions'],
      };
      expect(Object.keys(expected)).toHaveLength(Object.keys(netdev.metrics).length);
      for (const [what, value] of Object.entries(expected)) {
        expect(ofPod(ours, host, `netsonde_netdev_${what}_total`, { device: ifname }), `${ifname} ${what}`).toBe(value);
      }
    }
  });
});
