import { deepEqual, equal } from 'node:assert/strict';
import { TestNetns } from '../../support/hosts.ts';
import { TestKernel } from '../../support/kernel.ts';
import { makeNodeDevices } from '../../support/node_devices.ts';
import { defineChecks } from '../check.ts';

const CONFIG = '{ detail: full, probes: { netdev: true, packetloss: false, tcpretrans: false, tcpreset: false } }';

export const devices = defineChecks('devices', async (resources) => resources.use(await TestKernel.open(CONFIG)), {
  'devices of the node are told from ends of Pods, of every kind that this kernel has': async (agent) => {
    using resources = new DisposableStack();
    const made = makeNodeDevices(resources, resources.use(new TestNetns()));
    const { samples } = await agent.page();
    const shown = samples
      .filter(({ name, labels }) => name === 'netsonde_netdev_received_bytes_total' && labels['pod'] === '')
      .map(({ labels }) => labels['device'] ?? '');
    const wrong = made.filter(({ name, isNodes }) => shown.includes(name) !== isNodes);
    deepEqual(wrong, []);
    process.stdout.write(`devices: ${made.map(({ what }) => what).join(', ')}\n`);
    equal(made.length > 8, true);
  },
});
