import { describe, expect, it } from 'vitest';
import { attribute, join, numbers, qdiscMessage } from '../../../test/support/netlink.ts';
import { decodeQdiscs } from './qdisc.ts';

const ignore = () => undefined;

const ROOT = 0xffffffff;

function qdisc(kind: string, parent: number, basic: Uint8Array, queue: Uint8Array, ...more: Uint8Array[]): Uint8Array {
  const stats2 = join(attribute(1, basic), attribute(3, queue), ...more);
  return qdiscMessage({ ifindex: 2, handle: 0x10000, parent }, { kind, stats2 });
}

const BASIC = join(new Uint8Array(BigUint64Array.of(2n ** 40n).buffer), numbers(7, 0));
const QUEUE = numbers(1, 2, 3, 4, 5);

describe('decodeQdiscs', () => {
  it('reads the statistics of a root qdisc', () => {
    expect(decodeQdiscs(qdisc('tbf', ROOT, BASIC, QUEUE), ignore)).toEqual([
      {
        ifindex: 2,
        kind: 'tbf',
        bytes: 2 ** 40,
        packets: 7,
        queueLength: 1,
        backlogBytes: 2,
        drops: 3,
        requeues: 4,
        overlimits: 5,
      },
    ]);
  });

  it('prefers the 64-bit packet count', () => {
    const wide = attribute(8, new Uint8Array(BigUint64Array.of(2n ** 33n).buffer));
    expect(decodeQdiscs(qdisc('mq', ROOT, BASIC, QUEUE, wide), ignore)[0]?.packets).toBe(2 ** 33);
  });

  it('counts nothing twice: children and noqueue are left out, ingress is not', () => {
    const rows = decodeQdiscs(
      join(
        qdisc('mq', ROOT, BASIC, QUEUE),
        qdisc('fq_codel', 0x80010001, BASIC, QUEUE),
        qdisc('noqueue', ROOT, BASIC, QUEUE),
        qdisc('clsact', 0xfffffff1, BASIC, QUEUE),
      ),
      ignore,
    );
    expect(rows.map(({ kind }) => kind)).toEqual(['mq', 'clsact']);
  });

  it('gives no row for statistics that are too short', () => {
    expect(decodeQdiscs(qdisc('tbf', ROOT, BASIC.subarray(0, 8), QUEUE), ignore)).toEqual([]);
    expect(decodeQdiscs(qdisc('tbf', ROOT, BASIC, QUEUE.subarray(0, 16)), ignore)).toEqual([]);
  });

  it('gives whole rows or none for an answer that is cut anywhere, and reports the cut', () => {
    const first = qdisc('tbf', ROOT, BASIC, QUEUE);
    const whole = join(first, qdisc('htb', ROOT, BASIC, QUEUE));
    const rows = decodeQdiscs(whole, ignore);
    for (let length = 0; length < whole.length; length++) {
      let said = 0;
      const cut = decodeQdiscs(whole.subarray(0, length), () => said++);
      expect(cut).toEqual(rows.slice(0, cut.length));
      expect(said, `cut at ${length}`).toBe(length === 0 || length === first.length ? 0 : 1);
    }
  });
});
