import { describe, expect, it } from 'vitest';
import { histogram } from '#bpf/generated/common.ts';
import { mapSizes } from '../../scripts/map_sizes.ts';

const MB = 1e6;
const CPUS = 256;
const OBJECT_MAX = 64 * MB;
/** Number of Pods on a node: the kubelet's default maximum. Their histograms must fit into `OF_PODS_MAX` bytes. */
const PODS = 110;
const OF_PODS_MAX = 0.3 * MB;
/** Maximum total size in bytes of an object's per-CPU maps. */
const PER_CPU_MAX = 4 * MB;

const sizes = mapSizes(CPUS);
const objects = [...new Set(sizes.map(({ object }) => object))];

describe.each(objects)(`the maps of %s if ${CPUS} CPUs are possible`, (object) => {
  const own = sizes.filter((size) => size.object === object);
  const sum = (some: typeof own) => some.reduce((total, { bytes }) => total + bytes, 0);

  it('stay within the limit when all of their rows are taken', () => {
    expect(own.length).toBeGreaterThan(0);
    expect(sum(own)).toBeLessThanOrEqual(OBJECT_MAX);
  });

  it('have few entries for each CPU, and none by namespace', () => {
    const perCpu = own.filter(({ isPerCpu }) => isPerCpu);
    expect(sum(perCpu)).toBeLessThanOrEqual(PER_CPU_MAX);
    for (const { map, entries } of perCpu) expect(entries, map).toBeLessThan(100);
  });
});

it('histograms of a Pod have the same size on every machine', () => {
  const ofPods = sizes.filter(
    ({ map }) => map.endsWith('_histograms') && !['softirq_histograms', 'virtio_histograms'].includes(map),
  );
  expect(ofPods.map(({ map }) => map).sort()).toEqual(
    ['block_histograms', 'kernel_histograms', 'socket_histograms', 'transmit_histograms'].sort(),
  );
  const few = mapSizes(1);
  for (const { map, entryBytes } of ofPods) {
    expect(entryBytes, map).toBe(few.find((size) => size.map === map)?.entryBytes);
    expect(entryBytes, map).toBeGreaterThan(histogram.SIZE);
    expect(PODS * entryBytes, map).toBeLessThanOrEqual(OF_PODS_MAX);
  }
});
