import { describe, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { DeviceRows } from '#sources/devices/rows.ts';
import type { LinkRow } from '#sources/netlink/link.ts';
import type { DeviceStats } from '#sources/procfs/net_dev.ts';
import { walkedOfNode, walkedOfPod } from './walked.ts';

interface Device {
  readonly kind: string;
  readonly isCounted?: boolean;
  readonly isLoopback?: boolean;
  /** Undefined if the walk cannot determine the value, because it is known only to the device's driver. */
  readonly isOutside?: boolean | undefined;
}

const NODE = { id: asNetnsId(1), inum: 1, isNode: true };
const POD = { id: asNetnsId(2), inum: 2, isNode: false };
const ALL = { loopback: true, nodeVeth: false };
const STATS = { receivedBytes: 7 } as DeviceStats;

const LO: Device = { kind: '', isLoopback: true };
const ETH0: Device = { kind: '', isCounted: false };
const PODS: Device = { kind: 'veth', isOutside: true };
const BRIDGE: Device = { kind: 'bridge' };
const VXLAN: Device = { kind: 'vxlan', isOutside: undefined };

/** Returns rows whose device numbers start at 1. */
function rowsOf(...devices: readonly Device[]): DeviceRows {
  const { is, kind } = {
    is: (row: number) => devices[row] as Device,
    kind: (row: number) => devices[row]?.kind ?? '',
  };
  return {
    of: () => devices.map((_, row) => row),
    ifindex: (row: number) => row + 1,
    kind,
    isCounted: (row: number) => is(row).isCounted ?? true,
    isLoopback: (row: number) => is(row).isLoopback ?? false,
    isLinkedOutside: (row: number) => ('isOutside' in is(row) ? is(row).isOutside : false),
  } as unknown as DeviceRows;
}

function ask(links: readonly Partial<LinkRow>[] = [], stats: DeviceStats | undefined = STATS) {
  const asked: string[] = [];
  return {
    asked,
    route: {
      links: () => {
        asked.push('links');
        return links as readonly LinkRow[];
      },
      deviceStats: (_: unknown, ifindex: number) => {
        asked.push(`stats of ${ifindex}`);
        return stats;
      },
    },
  };
}

describe('the devices of a Pod', () => {
  it('are those of the walk, unless it could not count one of the shown devices', () => {
    expect(walkedOfPod(rowsOf(LO, BRIDGE), POD, ALL)).toEqual([{ row: 0 }, { row: 1 }]);
    expect(walkedOfPod(rowsOf(LO, BRIDGE), POD, { loopback: false })).toEqual([{ row: 1 }]);
    expect(walkedOfPod(rowsOf(LO, ETH0), POD, ALL)).toBeUndefined();
    expect(walkedOfPod(rowsOf({ ...LO, isCounted: false }, BRIDGE), POD, { loopback: false })).toEqual([{ row: 1 }]);
  });

  it('are unknown if the walk did not meet the namespace', () => {
    expect(walkedOfPod(rowsOf(), POD, ALL)).toBeUndefined();
    expect(walkedOfNode(rowsOf(), NODE, ALL, ask().route, freeCycle())).toBeUndefined();
  });
});

describe('the devices of the node', () => {
  it("are asked for one by one if the walk could not count them, and the ends of Pods' devices are left out", () => {
    const { route, asked } = ask();
    const shown = walkedOfNode(rowsOf(LO, ETH0, PODS, BRIDGE), NODE, ALL, route, freeCycle());
    expect(shown).toEqual([{ row: 0 }, { row: 1, stats: STATS }, { row: 3 }]);
    expect(asked).toEqual(['stats of 2']);
  });

  it("are distinguished from the ends of Pods' devices by netlink if only their driver knows", () => {
    const { route, asked } = ask([
      { ifindex: 1, kind: 'vxlan', linkedOutside: false },
      { ifindex: 2, kind: 'vxlan', linkedOutside: true },
      // The number has been reused by another device.
      { ifindex: 3, kind: 'bridge', linkedOutside: false },
    ]);
    const shown = walkedOfNode(rowsOf(VXLAN, VXLAN, VXLAN, VXLAN, PODS), NODE, ALL, route, freeCycle());
    expect(shown).toEqual([{ row: 0 }]);
    expect(asked).toEqual(['links']);
  });

  it('are all shown with `nodeVeth`, and netlink is not asked what they are linked to', () => {
    const { route, asked } = ask();
    const shown = walkedOfNode(rowsOf(VXLAN, PODS), NODE, { ...ALL, nodeVeth: true }, route, freeCycle());
    expect(shown).toEqual([{ row: 0 }, { row: 1 }]);
    expect(asked).toEqual([]);
  });

  it('are unknown if netlink does not answer', () => {
    expect(walkedOfNode(rowsOf(VXLAN), NODE, ALL, ask([]).route, freeCycle())).toBeUndefined();
    const silent = ask();
    const route = { ...silent.route, deviceStats: () => undefined };
    expect(walkedOfNode(rowsOf(BRIDGE, ETH0), NODE, ALL, route, freeCycle())).toBeUndefined();
  });
});
