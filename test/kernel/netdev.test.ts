import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { netdev } from '#probes/netdev/netdev.ts';
import type { DeviceColumn } from '#sources/procfs/net_dev.ts';
import { sh } from '../support/command.ts';
import { CountedPair, ofPod } from '../support/counters.ts';
import { countsOfLink, linksOf } from '../support/device_kinds.ts';
import { type HostPair, TestNetns, uniqueName } from '../support/hosts.ts';
import { only, TestKernel } from '../support/kernel.ts';
import { makeBridge, makeNodeDevices } from '../support/node_devices.ts';
import { readBoth } from '../support/oracle.ts';

let pair: HostPair;
let agent: TestKernel;
let resources: CountedPair;

beforeAll(async () => {
  resources = await CountedPair.create(only({ netdev: { loopback: true } }, { detail: 'full' }));
  ({ pair, agent } = resources);
});

afterAll(() => resources?.[Symbol.asyncDispose]());

describe.each([
  ['the sender', () => pair.a],
  ['the receiver', () => pair.b],
])('%s', (_, hostOf) => {
  it('netdev equals ip -s link, for each device', async () => {
    const host = hostOf();
    const { oracle, ours } = await readBoth(
      () => linksOf(host.netns),
      () => agent.page(),
    );
    expect(oracle.map(({ ifname }) => ifname).sort()).toEqual(
      ['lo', host === pair.a ? pair.deviceA : pair.deviceB].sort(),
    );
    for (const link of oracle) {
      const expected = countsOfLink(link);
      expect(Object.keys(expected).sort()).toEqual(Object.keys(netdev.metrics).sort());
      for (const [column, { name }] of Object.entries(netdev.metrics)) {
        const value = ofPod(ours, host, name, { device: link.ifname });
        expect(value, `${link.ifname} ${name}`).toBe(expected[column as DeviceColumn]);
      }
    }
  });
});

describe('the devices of the node', () => {
  const CONFIG = only({ netdev: true }, { detail: 'full' });

  async function shownBy(node: TestKernel): Promise<string[]> {
    const { samples } = await node.page();
    return samples
      .filter(({ name, labels }) => name === 'netsonde_netdev_received_bytes_total' && labels['pod'] === '')
      .map(({ labels }) => labels['device'] ?? '');
  }

  it('are shown by the place of their other end, for every kind that this kernel has', async () => {
    using resources = new DisposableStack();
    const devices = makeNodeDevices(resources, resources.use(new TestNetns()));
    await using node = await TestKernel.open(CONFIG);
    const shown = await shownBy(node);
    expect(devices.length).toBeGreaterThan(6);
    for (const { what, name, isNodes } of devices) expect(shown.includes(name), what).toBe(isNodes);
  });

  it('are shown as what they are if one is replaced under the same name', async () => {
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

  it('have a series each, even if their names are not UTF-8', async () => {
    using resources = new DisposableStack();
    const name = uniqueName('d');
    makeBridge(resources, `\\377${name}`);
    makeBridge(resources, `\\376${name}`);
    await using node = await TestKernel.open(CONFIG);
    const shown = await shownBy(node);
    expect(shown.filter((device) => device.endsWith(name)).sort()).toEqual([`/fe${name}`, `/ff${name}`]);
  });
});
