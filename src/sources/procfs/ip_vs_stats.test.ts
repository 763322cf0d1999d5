import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIpVsStats } from './ip_vs_stats.ts';

const ignore = () => undefined;

const HEADINGS = `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
`;
const RATES = `
 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       1        2        3                4                5
`;

/** Formats the file as the kernel does: `%8LX %8LX %8LX %16LX %16LX`. */
function file(values: readonly bigint[]): string {
  const cells = values.map((value, index) =>
    value
      .toString(16)
      .toUpperCase()
      .padStart(index < 3 ? 8 : 16),
  );
  return `${HEADINGS}${cells.join(' ')}\n${RATES}`;
}

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

describe('parseIpVsStats', () => {
  it('gives every number exactly, of 32 and of 64 bits', () => {
    fc.assert(
      fc.property(fc.tuple(u64, u64, u64, u64, u64), (values) => {
        const stats = parseIpVsStats(file(values), ignore);
        const given = [
          stats?.connections,
          stats?.receivedPackets,
          stats?.sentPackets,
          stats?.receivedBytes,
          stats?.sentBytes,
        ];
        expect(given.map((value) => BigInt(value ?? -1))).toEqual(values);
      }),
    );
  });

  it('gives the same or nothing for a file that is cut anywhere', () => {
    const text = file([0x131n, 0x2n ** 12n, 7n, 2n ** 64n - 1n, 2n ** 53n + 1n]);
    const whole = parseIpVsStats(text, ignore);
    const end = text.indexOf(RATES);
    for (let length = 0; length < text.length; length++) {
      expect(parseIpVsStats(text.slice(0, length), ignore)).toEqual(length < end ? undefined : whole);
    }
  });

  it.each([
    ['a column that is missing', `${HEADINGS}1 2 3 4\n`],
    ['a column that is new', `${HEADINGS}1 2 3 4 5 6\n`],
    ['no hexadecimal', `${HEADINGS}1 2 3 4 x\n`],
    ['more than 64 bits', `${HEADINGS}1 2 3 4 10000000000000000\n`],
    ['other headings', `${HEADINGS.replace('Conns', 'Drops')}1 2 3 4 5\n`],
    ['headings in another order', `${HEADINGS.split('\n').reverse().join('\n')}\n1 2 3 4 5\n`],
  ])('gives nothing for %s', (_, text) => expect(parseIpVsStats(text, ignore)).toBeUndefined());

  it('survives garbage', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => parseIpVsStats(HEADINGS + text, ignore) !== null));
  });
});
