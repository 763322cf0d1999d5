import { formatLinkStats64, type LinkStats64 } from 'netlink/dist/rt/ifla.js';
import { describe, expect, it } from 'vitest';
import { attribute, join, message } from '../../../test/support/netlink.ts';
import { decodeDeviceStats, deviceStatsRequest } from './device_stats.ts';

const RTM_NEWSTATS = 92;

/** Size of the kernel's struct, which is two words longer than in the netlink package. */
const STATS_BYTES = 25 * 8;

/** Each counter is a different power of ten or two, so a sum reveals which counters it includes. */
const STATS: LinkStats64 = {
  rxPackets: 1n,
  txPackets: 10n,
  rxBytes: 10n ** 2n,
  txBytes: 10n ** 3n,
  rxErrors: 10n ** 4n,
  txErrors: 10n ** 5n,
  rxDropped: 10n ** 6n,
  txDropped: 10n ** 7n,
  multicast: 10n ** 8n,
  collisions: 10n ** 9n,
  rxLengthErrors: 10n ** 10n,
  rxOverErrors: 10n ** 11n,
  rxCrcErrors: 10n ** 12n,
  rxFrameErrors: 10n ** 13n,
  rxFifoErrors: 10n ** 14n,
  rxMissedErrors: 10n ** 15n,
  txAbortedErrors: 10n ** 16n,
  txCarrierErrors: 10n ** 17n,
  txFifoErrors: 10n ** 18n,
  txHeartbeatErrors: 1n << 19n,
  txWindowErrors: 1n << 20n,
  rxCompressed: 1n << 21n,
  txCompressed: 1n << 22n,
};

function statsMessage(bytes = STATS_BYTES): Uint8Array {
  const stats = join(formatLinkStats64(STATS), new Uint8Array(STATS_BYTES)).subarray(0, bytes);
  return message(RTM_NEWSTATS, join(new Uint8Array(12), attribute(1, stats)));
}

describe('the counters of a device by RTM_GETSTATS', () => {
  it('are the columns of net/dev', () => {
    const stats = decodeDeviceStats(statsMessage(), () => undefined);
    expect(stats).toMatchObject({
      receivedPackets: 1,
      sentPackets: 10,
      receivedBytes: 100,
      sentBytes: 1_000,
      receivedErrors: 10_000,
      sentErrors: 100_000,
      receivedDrops: 10 ** 6 + 10 ** 15,
      sentDrops: 10 ** 7,
      receivedMulticast: 10 ** 8,
      collisions: 10 ** 9,
      receivedFrame: 10 ** 10 + 10 ** 11 + 10 ** 12 + 10 ** 13,
      receivedFifo: 10 ** 14,
      sentCarrier: 10n ** 16n + 10n ** 17n + (1n << 19n) + (1n << 20n),
      sentFifo: 10n ** 18n,
      receivedCompressed: 2 ** 21,
      sentCompressed: 2 ** 22,
    });
  });

  it('are reported and not shown if they are cut short', () => {
    const told: string[] = [];
    expect(decodeDeviceStats(statsMessage(22 * 8), (what) => told.push(what))).toBeUndefined();
    expect(told).toEqual(['a device without its counters']);
    for (let end = 0; end < statsMessage().length; end++) {
      expect(decodeDeviceStats(statsMessage().subarray(0, end), () => undefined)).toBeUndefined();
    }
  });

  it('are asked for by the number of the device', () => {
    const request = deviceStatsRequest(0x1234);
    const view = new DataView(request.buffer);
    expect([
      view.getUint32(0, true),
      view.getUint16(4, true),
      view.getUint32(20, true),
      view.getUint32(24, true),
    ]).toEqual([28, 94, 0x1234, 1]);
  });
});
