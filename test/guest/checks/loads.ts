import { deepEqual, ok } from 'node:assert/strict';
import { sh } from '../../support/command.ts';
import { type LoadedFile, loadEveryObject } from '../../support/every_object.ts';
import { defineChecks, Inapplicable, LOADS } from '../check.ts';
import { type Features, kernelFeatures } from '../features.ts';

/**
 * The verifier refuses a program after 1,000,000 instructions. Each start of the agent takes the time for all of them,
 * about a second for a million, so a program must stay far below that.
 */
const VERIFIED_MAX = 250_000;

/** Features that objects cannot do without. */
const NEEDS: Readonly<Record<string, keyof Features>> = {
  conntrack: 'hasPass',
  http: 'loops',
  http2: 'loops',
  lifecycle: 'hasPass',
  mib: 'hasPass',
  netdev: 'hasPass',
  netns: 'hasPass',
  qdisc: 'loops',
  sock: 'hasPass',
  socketlatency: 'socketStorage',
  tcp_ends: 'fetchingAtomics',
  tcpsummary: 'loops',
  translations: 'loops',
};

async function open(): Promise<readonly LoadedFile[]> {
  sh('modprobe -q virtio_net || true');
  const files = await loadEveryObject(0);
  process.stdout.write(`${LOADS}${JSON.stringify(files)}\n`);
  return files;
}

export const loads = defineChecks('loads', open, {
  'every object is loaded if the kernel has what it needs': async (files) => {
    const features = kernelFeatures();
    const lacks = ({ name }: LoadedFile) => NEEDS[name] !== undefined && !features[NEEDS[name]];
    ok(files.length > 0);
    deepEqual(
      files.filter(({ isLoaded }) => !isLoaded).map(({ name }) => name),
      files.filter(lacks).map(({ name }) => name),
    );
  },

  'the verifier accepts each program long before its limit': async (files) => {
    const counted = files.filter(({ verified }) => verified.length > 0);
    // The count was added in 5.16, the loop in 5.17.
    if (!kernelFeatures().loops) {
      deepEqual(counted, []);
      throw new Inapplicable('this kernel does not count the instructions');
    }
    deepEqual(
      counted.map(({ name }) => name),
      files.filter(({ isLoaded }) => isLoaded).map(({ name }) => name),
    );
    for (const { name, verified } of counted) {
      for (const count of verified) ok(count <= VERIFIED_MAX, `${name}: ${count}`);
    }
  },
});
