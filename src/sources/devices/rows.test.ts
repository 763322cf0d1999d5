import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { netdevCounter, netdevIs, netdevRow } from '#bpf/generated/netdev.ts';
import { deviceName } from '#core/device_name.ts';
import { asNetnsId } from '#core/netns.ts';
import { DeviceRows } from './rows.ts';

const ID = asNetnsId(9);

function row(name: Uint8Array, kind = '', is = 0, bytes = 0n): Uint8Array {
  const all = new Uint8Array(netdevRow.SIZE);
  all.set(name, netdevRow.offsets.name);
  all.set(Buffer.from(kind), netdevRow.offsets.kind);
  const view = new DataView(all.buffer);
  view.setUint32(netdevRow.offsets.is, is, true);
  view.setBigUint64(netdevRow.offsets.counters + netdevCounter.rx_bytes * 8, bytes, true);
  return all;
}

describe('the rows of a walk over devices', () => {
  it('have the names that netlink gives, in any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 15 }), (bytes) => {
        const name = bytes.map((byte) => (byte === 0 ? 1 : byte));
        const rows = new DeviceRows();
        rows.add(row(name), ID);
        expect(rows.name(0)).toBe(deviceName(name));
      }),
    );
    const rows = new DeviceRows();
    rows.add(row(new Uint8Array(16).fill(0x61)), ID);
    expect(rows.name(0)).toBe('a'.repeat(16));
  });

  it('are kept by namespace, at any number of them', () => {
    const rows = new DeviceRows();
    for (let index = 0; index < 1000; index++) {
      rows.add(row(Buffer.from(`d${index}`), 'veth', netdevIs.counted, BigInt(index)), asNetnsId(index % 3));
    }
    const second = rows.of(asNetnsId(1));
    expect(second).toHaveLength(333);
    for (const [nth, one] of second.entries()) {
      expect([rows.name(one), rows.value(one, 'receivedBytes')]).toEqual([`d${3 * nth + 1}`, 3 * nth + 1]);
    }
    rows.clear();
    expect([rows.count, rows.of(asNetnsId(1))]).toEqual([0, []]);
  });

  it('say what a device is', () => {
    const rows = new DeviceRows();
    rows.add(row(Buffer.from('lo'), '', netdevIs.loopback | netdevIs.counted), ID);
    rows.add(row(Buffer.from('eth0')), ID);
    rows.add(row(Buffer.from('v'), 'veth', netdevIs.counted | netdevIs.linked_outside), ID);
    rows.add(row(Buffer.from('m'), 'macvlan', netdevIs.link_unknown), ID);
    const all = rows.of(ID);
    expect(all.map((one) => rows.isPhysical(one))).toEqual([false, true, false, false]);
    expect(all.map((one) => rows.isCounted(one))).toEqual([true, false, true, false]);
    expect(all.map((one) => rows.isLinkedOutside(one))).toEqual([false, false, true, undefined]);
    expect([...rows.kindsNotCounted()]).toEqual(['macvlan']);
  });
});
