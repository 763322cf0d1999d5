import { describe, expect, it } from 'vitest';
import { attribute, join, message } from '../../../test/support/netlink.ts';
import { decodeDeviceStats, deviceStatsRequest } from './device_stats.ts';

const RTM_NEWSTATS = 92;

/** Returns a message in which the nth word is 10^n, so that each sum shows which words it contains. */
function statsMessage(words = 25): Uint8Array {
  const stats = new BigUint64Array(words).map((_, word) => (word < 19 ? 10n ** BigInt(word) : 1n << BigInt(word)));
  return message(RTM_NEWSTATS, join(new Uint8Array(12), attribute(1, new Uint8Array(stats.buffer))));
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
    });
  });

  it('are reported and not shown if they are cut short', () => {
    const told: string[] = [];
    expect(decodeDeviceStats(statsMessage(22), (what) => told.push(what))).toBeUndefined();
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
