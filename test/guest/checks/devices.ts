import { deepEqual, equal, rejects } from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { freeCycle } from '#core/cycle.ts';
import { DEFAULT_PATHS } from '#core/paths.ts';
import { BpfSource } from '#sources/bpf/source.ts';
import { DevicesWalk } from '#sources/devices/walk.ts';
import { cpusOf } from '#sources/procfs/cpus.ts';
import { makeKinds, sendFrames, walkBesideIp } from '../../support/device_kinds.ts';
import { TestNetns } from '../../support/hosts.ts';
import { OBJECTS, TestKernel } from '../../support/kernel.ts';
import { makeNodeDevices } from '../../support/node_devices.ts';
import { eventually, retry } from '../../support/oracle.ts';
import { defineChecks, Inapplicable } from '../check.ts';
import { kernelFeatures } from '../features.ts';

const CONFIG = '{ detail: full, probes: { netdev: true, packetloss: false, tcpretrans: false, tcpreset: false } }';

/** Kinds of devices whose counters are the sums of other devices' counters. */
const UNKNOWN = ['bond', 'vrf'];

export const devices = defineChecks('devices', async (resources) => resources.use(await TestKernel.open(CONFIG)), {
  'devices of the node are distinguished from ends of Pods, for every kind that this kernel has': async (agent) => {
    using resources = new DisposableStack();
    const made = makeNodeDevices(resources, resources.use(new TestNetns()));
    // The devices' drivers have just been loaded. Under emulation, reading their types takes the walk longer than one
    // collection, so the check is retried.
    await eventually(async () => {
      const { samples } = await agent.page();
      const shown = samples
        .filter(({ name, labels }) => name === 'netsonde_netdev_received_bytes_total' && labels['pod'] === '')
        .map(({ labels }) => labels['device'] ?? '');
      const wrong = made.filter(({ name, isNodes }) => shown.includes(name) !== isNodes);
      deepEqual(wrong, []);
    });
    process.stdout.write(`devices: ${made.map(({ what }) => what).join(', ')}\n`);
    equal(made.length > 8, true);
  },

  'the walk counts the same as the kernel, on a device of every kind': async () => {
    if (!kernelFeatures().hasPass) {
      const walk = DevicesWalk.open(new BpfSource(OBJECTS, DEFAULT_PATHS.sys), cpusOf(DEFAULT_PATHS.sys));
      await rejects(walk, /the kernel shows no struct net_device_core_stats/);
      throw new Inapplicable('this kernel does not support the walk over devices');
    }
    using netns = new TestNetns();
    using pass = await DevicesWalk.open(new BpfSource(OBJECTS, DEFAULT_PATHS.sys), cpusOf(DEFAULT_PATHS.sys));
    // The module must be loaded explicitly, because /dev/net/tun does not exist without it.
    spawnSync('modprobe', ['-q', 'tun']);
    const made = makeKinds(netns);
    const frames = sendFrames(netns);
    const { oracle, walk, others } = await retry(() => walkBesideIp(pass, netns));
    deepEqual(walk, oracle);
    const moved = Object.entries(walk).filter(([, counts]) => counts.some((count) => count !== 0));
    const refused = (await pass.read(freeCycle())).refused;
    process.stdout.write(
      `walk: ${frames} frames; made ${made.join(' ')}; counted ${Object.keys(walk).join(' ')}; moved ${moved.map(([name, counts]) => `${name}=${counts.join('/')}`).join(' ')}; left to the kernel ${others.join(' ')}\n`,
    );
    deepEqual([...refused], []);
    for (const name of made) equal(UNKNOWN.includes(name) || Object.hasOwn(walk, name), true, name);
    equal(moved.length >= made.length / 2, true);
  },
});
