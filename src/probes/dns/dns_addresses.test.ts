import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readAddresses } from './dns_addresses.ts';

const [A, CNAME, AAAA, IN] = [1, 5, 28, 1];
const POINTER = Uint8Array.of(0xc0, 12);

function name(text: string): Uint8Array {
  const labels = text.split('.').flatMap((label) => [label.length, ...Buffer.from(label, 'latin1')]);
  return Uint8Array.of(...labels, 0);
}

function numbers(...given: readonly number[]): Uint8Array {
  return Uint8Array.from(given.flatMap((number) => [number >> 8, number & 255]));
}

interface Given {
  readonly owner?: Uint8Array;
  readonly type?: number;
  readonly ttl?: number;
  readonly data: Uint8Array;
}

function record({ owner = POINTER, type = A, ttl = 60, data }: Given): Uint8Array {
  return Buffer.concat([owner, numbers(type, IN, ttl >>> 16, ttl & 0xffff, data.length), data]);
}

interface Answer {
  readonly asked?: string;
  readonly qtype?: number;
  readonly records: readonly Given[];
  readonly count?: number;
}

function answer({ asked = 'shop.example', qtype = A, records, count = records.length }: Answer): Uint8Array {
  return Buffer.concat([numbers(7, 0x8180, 1, count, 0, 0), name(asked), numbers(qtype, IN), ...records.map(record)]);
}

const read = (message: Uint8Array) => readAddresses(message, message.length);
const IP = Uint8Array.of(192, 0, 2, 1);
const IPV6 = Uint8Array.of(0x20, 1, 0xd, 0xb8, ...new Array(11).fill(0), 7);

describe('an answer', () => {
  it('has the addresses of the name that was asked for, in lower case, and the smallest TTL', () => {
    const two = answer({
      asked: 'Shop.EXAMPLE',
      records: [{ data: IP }, { data: Uint8Array.of(192, 0, 2, 2), ttl: 5 }],
    });
    const resolved = { name: 'shop.example', ips: ['192.0.2.1', '192.0.2.2'], ttlSeconds: 5 };
    expect(read(two)).toEqual({ resolved, fault: undefined });
    const six = answer({ qtype: AAAA, records: [{ type: AAAA, data: IPV6 }] });
    expect(read(six).resolved).toEqual({ name: 'shop.example', ips: ['2001:db8::7'], ttlSeconds: 60 });
  });

  it('has the addresses at the end of a chain of aliases under the name that was asked for', () => {
    const chain = answer({
      records: [
        { type: CNAME, ttl: 300, data: name('edge.CDN.example') },
        { owner: name('EDGE.cdn.example'), type: CNAME, ttl: 20, data: name('n7.cdn.example') },
        { owner: name('n7.cdn.example'), data: IP },
      ],
    });
    expect(read(chain).resolved).toEqual({ name: 'shop.example', ips: ['192.0.2.1'], ttlSeconds: 20 });
  });

  it('without addresses has none: no data, another type, or an alias alone', () => {
    for (const records of [[], [{ type: AAAA, data: IPV6 }], [{ type: CNAME, data: name('a.example') }]])
      expect(read(answer({ records }))).toEqual({ resolved: undefined, fault: undefined });
  });

  it('that is longer than what the kernel copies keeps the addresses at its start', () => {
    const whole = answer({ records: [{ data: IP }, { data: Uint8Array.of(192, 0, 2, 2) }] });
    expect(readAddresses(whole.subarray(0, whole.length - 3), whole.length)).toEqual({
      resolved: { name: 'shop.example', ips: ['192.0.2.1'], ttlSeconds: 60 },
      fault: 'cut',
    });
  });
});

describe('a hostile answer', () => {
  it('cannot name the address of another name', () => {
    const records = [{ owner: name('victim.example'), data: IP }];
    expect(read(answer({ records }))).toEqual({ resolved: undefined, fault: undefined });
  });

  it.each([
    ['a pointer to itself', answer({ records: [{ owner: Uint8Array.of(0xc0, 30), data: IP }] })],
    ['a pointer ahead', answer({ records: [{ owner: Uint8Array.of(0xff, 0xff), data: IP }] })],
    ['an alias of a loop', answer({ records: [{ type: CNAME, data: Uint8Array.of(1, 97, 0xc0, 42) }, { data: IP }] })],
    ['more records than it says', answer({ records: [{ data: IP }], count: 65_535 })],
    ['an address of 16 bytes in a record of 4', answer({ records: [{ data: IPV6 }] })],
    ['a label that is too long', Buffer.concat([numbers(7, 0x8180, 1, 1, 0, 0), Uint8Array.of(64, ...IPV6, ...IPV6)])],
    [
      'two questions',
      Buffer.concat([numbers(7, 0x8180, 2, 1, 0, 0), answer({ records: [{ data: IP }] }).subarray(12)]),
    ],
    ['a name with a control byte', answer({ asked: 'a\x1b[31m.example', records: [{ data: IP }] })],
    ['a name with a space', answer({ asked: 'a b.example', records: [{ data: IP }] })],
    ['the root as its name', answer({ asked: '', records: [{ data: IP }] })],
  ])('with %s is malformed', (_, message) => {
    expect(read(message)).toEqual({ resolved: undefined, fault: 'malformed' });
  });

  it('has a TTL of 0 if its highest bit is set', () => {
    expect(read(answer({ records: [{ data: IP, ttl: 0xffff_ffff }] })).resolved?.ttlSeconds).toBe(0);
    expect(read(answer({ records: [{ data: IP, ttl: 0x7fff_ffff }] })).resolved?.ttlSeconds).toBe(0x7fff_ffff);
  });

  it('never gets a name that was not asked for, nor more than a moment, whatever its bytes', () => {
    const base = answer({
      records: [
        { type: CNAME, data: name('edge.cdn.example') },
        { owner: name('edge.cdn.example'), data: IP },
        { owner: Uint8Array.of(0xc0, 42), data: IP },
      ],
    });
    const asked = base.slice(0, 30);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.integer({ min: 30, max: base.length - 1 }), fc.integer({ min: 0, max: 255 })), {
          maxLength: 12,
        }),
        fc.integer({ min: 0, max: base.length }),
        (changes, end) => {
          const message = Uint8Array.from(base);
          for (const [at, byte] of changes) message[at] = byte;
          message.set(asked);
          const { resolved } = readAddresses(message.subarray(0, end), message.length);
          expect(resolved?.name ?? 'shop.example').toBe('shop.example');
          for (const ip of resolved?.ips ?? []) expect(ip).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
        },
      ),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 512 }), (bytes) => void read(bytes)),
      { numRuns: 2_000 },
    );
  });
});
