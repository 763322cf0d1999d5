import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { netdev } from '#probes/netdev/netdev.ts';
import { sh } from '../support/command.ts';
import { CountedPair, ofPod } from '../support/counters.ts';
import { type HostPair, TestNetns, uniqueName } from '../support/hosts.ts';
import { TestKernel } from '../support/kernel.ts';
import { makeBridge, makeNodeDevices } from '../support/node_devices.ts';
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

describe('the devices of the node', () => {
  const CONFIG = '{ detail: full, probes: { netdev: true } }';

  async function shownBy(node: TestKernel): Promise<string[]> {
    const { samples } = await node.page();
    return samples
      .filter(({ name, labels }) => name === 'netsonde_netdev_received_bytes_total' && labels['pod'] === '')
      .map(({ labels }) => labels['device'] ?? '');
  }

  it('are shown by where their other end is, of every kind that this kernel has', async () => {
    using resources = new DisposableStack();
    const devices = makeNodeDevices(resources, resources.use(new TestNetns()));
    await using node = await TestKernel.open(CONFIG);
    const shown = await shownBy(node);
    expect(devices.length).toBeGreaterThan(6);
    for (const { what, name, isNodes } of devices) expect(shown.includes(name), what).toBe(isNodes);
  });

  it('are shown as what they are where one is made anew under its name', async () => {
    using resources = new DisposableStack();
    const pod = resources.use(new TestNetns());
    const name = uniqueName('d');
    sh(`ip link add ${name} type veth peer name ${uniqueName('p')} netns ${pod.name}`);
    await using node = await TestKernel.open(CONFIG);
    expect(await shownBy(node)).not.toContain(name);
    sh(`ip link del ${name}`);
    sh(`ip link add ${name} type bridge`);
    expect(await shownBy(node)).toContain(name);
    sh(`ip link del ${name}`);
    sh(`ip link add ${name} type veth peer name ${uniqueName('p')} netns ${pod.name}`);
    resources.defer(() => sh(`ip link del ${name}`));
    expect(await shownBy(node)).not.toContain(name);
  });

  it('have a series each, also where their names are not UTF-8', async () => {
    using resources = new DisposableStack();
    const name = uniqueName('d');
    makeBridge(resources, `\\377${name}`);
    makeBridge(resources, `\\376${name}`);
    await using node = await TestKernel.open(CONFIG);
    const shown = await shownBy(node);
    expect(shown.filter((device) => device.endsWith(name)).sort()).toEqual([`/fe${name}`, `/ff${name}`]);
  });
});
