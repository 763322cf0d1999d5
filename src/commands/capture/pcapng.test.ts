import { expect, it } from 'vitest';
import { readPcapng, textOf } from '../../../test/support/pcapng_file.ts';
import { enhancedPacket, interfaceDescription, interfaceStatistics, sectionHeader } from './pcapng.ts';

const SECTION = sectionHeader({ os: 'Linux 6.1', application: 'netsonde', comment: 'of shop/cart-0' });
const DEVICE = interfaceDescription({
  linkType: 276,
  snap: 276,
  name: 'eth0',
  description: 'shop/cart-0',
  filter: 'tcp port 80',
  os: 'Linux 6.1',
});

it('packets, interfaces and statistics are read as they were written', () => {
  const timeNs = 1_796_075_875_313_282_916n;
  const packets = [0, 1, 2, 3, 4, 1_500].map((length) => ({
    interface: 0,
    timeNs: timeNs + BigInt(length),
    length: length + 20,
    bytes: Buffer.alloc(length, length),
    comment: `x${'ä'.repeat(length % 3)}`,
  }));
  const statistics = { interface: 0, startNs: 1n, endNs: 2n, received: 2 ** 40, dropped: 3, delivered: 6 };
  const file = readPcapng(
    Buffer.concat([SECTION, DEVICE, ...packets.map(enhancedPacket), interfaceStatistics(statistics)]),
  );
  expect(file.packets).toEqual(packets);
  expect(file.statistics).toEqual([{ interface: 0, received: 2 ** 40, dropped: 3, delivered: 6 }]);
  expect(textOf(file.section, 1)).toBe('of shop/cart-0');
  const [device] = file.interfaces;
  expect(device).toMatchObject({ linkType: 276, snap: 276 });
  expect([2, 3, 11].map((code) => textOf(device?.options ?? [], code))).toEqual([
    'eth0',
    'shop/cart-0',
    '\0tcp port 80',
  ]);
  // Times are in nanoseconds.
  expect(device?.options.find(({ code }) => code === 9)?.value).toEqual(Buffer.of(9));
});

it('counts that are not known are left out', () => {
  const bytes = interfaceStatistics({ interface: 0, startNs: 1n, endNs: 2n, delivered: 1 });
  expect(readPcapng(Buffer.concat([SECTION, DEVICE, bytes])).statistics).toEqual([
    { interface: 0, received: undefined, dropped: undefined, delivered: 1 },
  ]);
});

it('long texts are cut between characters', () => {
  for (const prefix of ['', 'a', 'ab', 'abc']) {
    const comment = `${prefix}${'😀'.repeat(1_000)}`;
    const cut = textOf(readPcapng(sectionHeader({ os: '', application: '', comment })).section, 1) ?? '';
    expect(comment.startsWith(cut)).toBe(true);
    expect(Buffer.byteLength(cut)).toBeGreaterThan(900);
    expect(Buffer.byteLength(cut)).toBeLessThanOrEqual(1_000);
  }
});
