import { describe, expect, it } from 'vitest';
import { freeCycle } from '#core/cycle.ts';
import { asNetnsId } from '#core/netns.ts';
import type { LinkRow } from '#sources/netlink/link.ts';
import { NET_DEV_COLUMNS } from '#sources/procfs/net_dev.ts';
import { NodeDevices } from './node_devices.ts';

const NODE = { id: asNetnsId(1), inum: 1, isNode: true };

/** State of a device at one moment. Each device has a different number of bytes, which identifies it in the results. */
interface Device {
  readonly ifindex: number;
  readonly bytes: number;
  readonly isPods?: boolean;
}
type Moment = Readonly<Record<string, Device>>;

/**
 * Simulates a kernel that changes between requests. Each read of the file and each netlink request returns the state at
 * the next moment. After the last moment, the state no longer changes.
 */
function machine(...moments: readonly Moment[]) {
  let asked = 0;
  const next = () => moments[Math.min(asked++, moments.length - 1)] ?? {};
  const numbers = (bytes: number) => NET_DEV_COLUMNS.map((_, index) => (index === 0 ? bytes : 0)).join(' ');
  const devices = new NodeDevices({
    files: {
      parse: (
        _entry: unknown,
        _path: string,
        _cycle: unknown,
        parser: (text: string, malformed: () => void) => unknown,
      ) =>
        parser(
          Object.entries(next())
            .map(([name, { bytes }]) => `  ${name}: ${numbers(bytes)}\n`)
            .join(''),
          () => undefined,
        ),
    },
    route: {
      links: () =>
        Object.entries(next()).map(
          ([name, { ifindex, isPods = false }]): LinkRow => ({
            ifindex,
            name,
            kind: isPods ? 'veth' : 'bridge',
            loopback: false,
            linkedOutside: isPods,
          }),
        ),
    },
  } as unknown as ConstructorParameters<typeof NodeDevices>[0]);
  return {
    devices,
    read: () => {
      const rows = devices.read(NODE as never, ({ linkedOutside }) => !linkedOutside, freeCycle());
      return Object.fromEntries([...rows].map(([name, { stats }]) => [name, stats.receivedBytes]));
    },
    asked: () => asked,
  };
}

const ETH0 = { ifindex: 2, bytes: 100 };
const VETH = { ifindex: 7, bytes: 9_000, isPods: true };
const BRIDGE = { ifindex: 8, bytes: 5 };

describe('the devices of the node', () => {
  it("are shown from the first reading on, without the node's ends of Pods' devices", () => {
    const { read, asked } = machine({ eth0: ETH0, x: VETH });
    expect(read()).toEqual({ eth0: 100 });
    expect(asked()).toBe(4);
    expect(read()).toEqual({ eth0: 100 });
    expect(asked()).toBe(6);
  });

  it('are shown as they are now after they were created again under the same name', () => {
    const before = { eth0: ETH0, x: VETH };
    const after = { eth0: ETH0, x: BRIDGE };
    const { read } = machine(before, before, before, before, after);
    expect(read()).toEqual({ eth0: 100 });
    expect(read()).toEqual({ eth0: 100, x: 5 });
    const back = machine(after, after, after, after, before);
    expect(back.read()).toEqual({ eth0: 100, x: 5 });
    expect(back.read()).toEqual({ eth0: 100 });
  });

  it('never get the value of the device that had their name before', () => {
    const before = { eth0: ETH0, x: VETH };
    const after = { eth0: ETH0, x: BRIDGE };
    // The device changes between the read of the file and the netlink request.
    const { read } = machine(before, before, before, before, before, after);
    read();
    expect(read()).toEqual({ eth0: 100, x: 5 });
    const swapped = machine({ a: ETH0, b: BRIDGE }, { a: BRIDGE, b: ETH0 });
    expect(swapped.read()).toEqual({ a: 5, b: 100 });
  });

  it('are read three times while they change, and devices that still change are left out', () => {
    const moment = (ifindex: number) => ({ eth0: ETH0, x: { ifindex, bytes: ifindex } });
    const { read, asked } = machine(...Array.from({ length: 6 }, (_, index) => moment(10 + index)));
    expect(read()).toEqual({ eth0: 100 });
    expect(asked()).toBe(6);
    expect(read()).toEqual({ eth0: 100, x: 15 });
  });

  it('are all shown, with the reason, if the kernel does not report what they are', () => {
    const none = machine({ eth0: ETH0, x: VETH }, {}, { eth0: ETH0, x: VETH }, {});
    expect(none.devices.degraded).toEqual([]);
    expect(none.read()).toEqual({ eth0: 100, x: 9_000 });
    expect(none.devices.degraded).toEqual([expect.stringContaining("the node's ends of Pod devices are shown")]);
    expect(none.asked()).toBe(2);
  });
});
