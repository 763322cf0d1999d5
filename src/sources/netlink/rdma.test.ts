import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attribute, cString, join, message, numbers } from '../../../test/support/netlink.ts';
import { decodeRdmaResources } from './rdma.ts';

const ignore = () => undefined;

const RDMA_RES_GET = (5 << 10) | 9;

describe('decodeRdmaResources', () => {
  const count = (value: bigint) => attribute(18, new Uint8Array(BigUint64Array.of(value).buffer));
  const name = (value: string) => attribute(17, cString(value));
  const entry = (...fields: Uint8Array[]) => attribute(16, join(...fields));
  const device = (value: string, ...entries: Uint8Array[]) =>
    message(
      RDMA_RES_GET,
      join(attribute(1, numbers(0)), attribute(2, cString(value)), attribute(15, join(...entries))),
    );

  it('gives a row for each kind of resource of each device, for any kinds', () => {
    const kinds = fc.array(fc.tuple(fc.stringMatching(/^[a-z_]{1,15}$/), fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })));
    fc.assert(
      fc.property(kinds, (given) => {
        const answer = device('mlx5_0', ...given.map(([kind, value]) => entry(name(kind), count(value))));
        const rows = decodeRdmaResources(join(answer, device('rxe0', entry(count(1n), name('qp')))), ignore);
        expect(rows.map((row) => [row.device, row.resource, BigInt(row.count)])).toEqual([
          ...given.map(([kind, value]) => ['mlx5_0', kind, value]),
          ['rxe0', 'qp', 1n],
        ]);
      }),
    );
  });

  it('leaves out an entry without name or count, or with a short count', () => {
    const answer = device('rxe0', entry(name('pd')), entry(count(1n)), entry(name('cq'), attribute(18, numbers(1))));
    expect(
      decodeRdmaResources(join(answer, message(RDMA_RES_GET, attribute(15, entry(name('qp'), count(1n))))), ignore),
    ).toEqual([]);
  });

  it('gives whole rows or none for an answer that is cut anywhere', () => {
    const whole = join(device('a', entry(name('qp'), count(5n)), entry(name('cq'), count(6n))), device('b'));
    const rows = decodeRdmaResources(whole, ignore);
    expect(rows).toHaveLength(2);
    for (let length = 0; length < whole.length; length++) {
      const cut = decodeRdmaResources(whole.subarray(0, length), ignore);
      expect(cut).toEqual(rows.slice(0, cut.length));
    }
  });
});
