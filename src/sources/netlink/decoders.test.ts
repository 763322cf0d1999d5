import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attribute, join, message, numbers } from '../../../test/support/netlink.ts';
import { decodeAddresses } from './address.ts';
import { decodeLinks } from './link.ts';
import { decodeAttributes, decodeMessages, encodeRequest, NLM_F_DUMP, text, u32 } from './message.ts';
import { decodeQdiscs } from './qdisc.ts';
import { decodeRdmaResources } from './rdma.ts';

const ignore = () => undefined;

const RTM_NEWLINK = 16;
const RTM_NEWADDR = 20;
const RTM_NEWQDISC = 36;
const RDMA_RES_GET = (5 << 10) | 9;

const cString = (value: string) => Uint8Array.from(Buffer.from(`${value}\0`));

const ROOT = 0xffffffff;

function qdisc(kind: string, parent: number, basic: Uint8Array, queue: Uint8Array, ...more: Uint8Array[]): Uint8Array {
  const stats = join(attribute(1, basic), attribute(3, queue), ...more);
  return message(
    RTM_NEWQDISC,
    join(numbers(0, 2, 0x10000, parent, 0), attribute(1, cString(kind)), attribute(7, stats)),
  );
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

  it('gives whole rows or none for an answer that is cut anywhere, and says that it was', () => {
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

describe('decodeLinks', () => {
  const link = (index: number, flags: number, name: string, info?: string) =>
    message(
      RTM_NEWLINK,
      join(
        numbers(0, index, flags, 0),
        attribute(3, cString(name)),
        ...(info === undefined ? [] : [attribute(18, attribute(1, cString(info)))]),
      ),
    );

  it('tells software devices from others by their kind', () => {
    expect(decodeLinks(join(link(1, 0x8, 'lo'), link(2, 0, 'eth0'), link(3, 0, 'veth1', 'veth')), ignore)).toEqual([
      { ifindex: 1, name: 'lo', kind: undefined, loopback: true },
      { ifindex: 2, name: 'eth0', kind: undefined, loopback: false },
      { ifindex: 3, name: 'veth1', kind: 'veth', loopback: false },
    ]);
  });
});

describe('decodeAddresses', () => {
  const address = (scope: number, ...attributes: Uint8Array[]) =>
    message(RTM_NEWADDR, join(Uint8Array.of(2, 24, 0, scope, 2, 0, 0, 0), ...attributes));

  it('gives global addresses, the local end of a point-to-point device, nothing of other scopes', () => {
    const messages = join(
      address(0, attribute(1, Uint8Array.of(10, 0, 0, 9)), attribute(2, Uint8Array.of(10, 0, 0, 1))),
      address(253, attribute(1, Uint8Array.of(169, 254, 0, 1))),
      address(0, attribute(1, Uint8Array.of(0xfd, ...new Array<number>(14).fill(0), 1))),
      address(0, attribute(1, Uint8Array.of(1, 2, 3))),
    );
    expect(decodeAddresses(messages, ignore)).toEqual(['10.0.0.1', 'fd00::1']);
  });
});

describe('decodeRdmaResources', () => {
  const count = (value: bigint) => attribute(18, new Uint8Array(BigUint64Array.of(value).buffer));
  const name = (value: string) => attribute(17, cString(value));
  const entry = (...fields: Uint8Array[]) => attribute(16, join(...fields));
  const device = (value: string, ...entries: Uint8Array[]) =>
    message(
      RDMA_RES_GET,
      join(attribute(1, numbers(0)), attribute(2, cString(value)), attribute(15, join(...entries))),
    );

  it('gives a row for each kind of resource of each device, whatever the kinds are', () => {
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

describe('the framing', () => {
  it('gives back what was framed', () => {
    const attributes = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 100 }), fc.uint8Array({ maxLength: 40 })), {
      selector: ([type]) => type,
    });
    fc.assert(
      fc.property(attributes, (given) => {
        const payload = join(numbers(1), ...given.map(([type, value]) => attribute(type, value)));
        const [only] = decodeMessages(message(99, payload), ignore);
        const decoded = only === undefined ? new Map() : decodeAttributes(only.payload, 4);
        return (
          only?.type === 99 &&
          decoded.size === given.length &&
          given.every(([type, value]) => decoded.get(type)?.end - decoded.get(type)?.start === value.length)
        );
      }),
    );
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        decodeQdiscs(bytes, ignore);
        decodeLinks(bytes, ignore);
        decodeAddresses(bytes, ignore);
        decodeRdmaResources(bytes, ignore);
      }),
    );
    fc.assert(
      fc.property(fc.constantFrom(16, 20, 36, RDMA_RES_GET), fc.uint8Array({ maxLength: 200 }), (type, bytes) => {
        const framed = message(type, bytes);
        const decoders = [decodeQdiscs, decodeLinks, decodeAddresses, decodeRdmaResources];
        return decoders.every((decode) => Array.isArray(decode(framed, ignore)));
      }),
    );
  });

  it('builds a request with its header', () => {
    const bytes = encodeRequest(38, NLM_F_DUMP, Uint8Array.of(1, 2, 3, 4));
    expect([...bytes]).toEqual([20, 0, 0, 0, 38, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]);
  });

  it('ends a string at its first NUL, and refuses a number that is cut', () => {
    const view = new DataView(Uint8Array.from(Buffer.from('ab\0c')).buffer);
    expect(text({ view, start: 0, end: 4 })).toBe('ab');
    expect(u32({ view, start: 1, end: 4 })).toBeUndefined();
  });
});
