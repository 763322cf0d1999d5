import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attribute, join, message, numbers } from '../../../test/support/netlink.ts';
import {
  type ConntrackCounter,
  type ConntrackCounters,
  decodeCpuStats,
  decodeEntry,
  decodeGlobalStats,
  PROTOCOLS,
  type TableEntry,
  TCP_STATES,
} from './conntrack.ts';
import { decodeMessages } from './message.ts';

const ignore = () => undefined;

const NEW = 0x100;
const CPU_STATS = 0x104;
const GLOBAL_STATS = 0x105;
const U32_MAX = 2 ** 32 - 1;

/** Attribute types of the counters (enum ctattr_stats_cpu). */
const COUNTERS: Readonly<Record<ConntrackCounter, number>> = {
  found: 2,
  invalid: 4,
  insert: 8,
  insertFailed: 9,
  drop: 10,
  earlyDrop: 11,
  error: 12,
  searchRestart: 13,
  clashResolve: 14,
  chainTooLong: 15,
};
const NAMES = Object.keys(COUNTERS) as ConntrackCounter[];

const HEADER = numbers(0);

function big(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value, false);
  return new Uint8Array(view.buffer);
}

/** Encodes the kernel's message for one CPU with the given counter values. */
function cpu(values: readonly number[]): Uint8Array {
  return message(
    CPU_STATS,
    join(HEADER, ...NAMES.map((name, index) => attribute(COUNTERS[name], big(values[index] ?? 0)))),
  );
}

const arbitraryCpu = fc.array(fc.nat(U32_MAX), { minLength: NAMES.length, maxLength: NAMES.length });
const arbitraryCpus = fc.array(arbitraryCpu, { minLength: 1, maxLength: 5 });

function sumOf(cpus: readonly (readonly number[])[]): ConntrackCounters {
  return Object.fromEntries(
    NAMES.map((name, index) => [name, cpus.reduce((sum, values) => sum + (values[index] ?? 0), 0)]),
  );
}

describe('decodeCpuStats', () => {
  it('adds up the CPUs, in numbers that are larger than one of them can be', () => {
    fc.assert(
      fc.property(arbitraryCpus, (cpus) => {
        expect(decodeCpuStats(join(...cpus.map(cpu)), ignore)).toEqual(sumOf(cpus));
      }),
    );
    expect(decodeCpuStats(join(cpu(Array(10).fill(U32_MAX)), cpu(Array(10).fill(U32_MAX))), ignore)?.drop).toBe(
      2 * U32_MAX,
    );
  });

  it('takes attributes in any order, and others that it does not know', () => {
    const attributes = NAMES.map((name, index) => attribute(COUNTERS[name], big(index + 1)));
    const shuffled = fc.shuffledSubarray([...attributes, attribute(99, big(7)), attribute(98, new Uint8Array(8))], {
      minLength: NAMES.length + 2,
    });
    fc.assert(
      fc.property(shuffled, (given) => {
        expect(decodeCpuStats(message(CPU_STATS, join(HEADER, ...given)), ignore)).toEqual(
          sumOf([NAMES.map((_, index) => index + 1)]),
        );
      }),
    );
  });

  it('leaves out what the kernel lacks', () => {
    expect(decodeCpuStats(message(CPU_STATS, join(HEADER, attribute(COUNTERS.drop, big(3)))), ignore)).toEqual({
      drop: 3,
    });
  });

  it('gives the sum of whole messages or nothing for an answer that is cut anywhere', () => {
    fc.assert(
      fc.property(arbitraryCpus, fc.nat(2_000), (cpus, at) => {
        const whole = join(...cpus.map(cpu));
        const one = whole.length / cpus.length;
        const length = at % whole.length;
        const expected = length > 0 && length % one === 0 ? sumOf(cpus.slice(0, length / one)) : undefined;
        expect(decodeCpuStats(whole.subarray(0, length), ignore)).toEqual(expected);
      }),
    );
  });

  it('gives nothing if an attribute is not a number, or its length is wrong', () => {
    fc.assert(
      fc.property(fc.constantFrom(...NAMES), fc.nat(40), (name, length) => {
        const answer = message(CPU_STATS, join(HEADER, attribute(COUNTERS[name], new Uint8Array(length))));
        expect(decodeCpuStats(answer, ignore)).toEqual(length === 4 ? { [name]: 0 } : undefined);
      }),
    );
    // If any attribute has the wrong length, the decoder must reject the message instead of returning incomplete sums.
    const whole = cpu(NAMES.map((_, index) => index + 1));
    const right = decodeCpuStats(whole, ignore);
    for (let at = 20; at < whole.length; at += 8) {
      for (const length of [0, 3, 4, 5, 7, 9, 12, 16, 80, 65535]) {
        const wrong = whole.slice();
        new DataView(wrong.buffer).setUint16(at, length, true);
        const decoded = decodeCpuStats(wrong, ignore);
        if (decoded !== undefined) expect(decoded).toEqual(right);
      }
    }
  });

  it('gives nothing for an empty answer, and for one of another kind', () => {
    expect(decodeCpuStats(new Uint8Array(), ignore)).toBeUndefined();
    expect(decodeCpuStats(join(cpu([1]), message(GLOBAL_STATS, HEADER)), ignore)).toBeUndefined();
  });
});

describe('decodeGlobalStats', () => {
  const answer = (...attributes: Uint8Array[]) => message(GLOBAL_STATS, join(HEADER, ...attributes));

  it('reads the entries and the limit', () => {
    expect(decodeGlobalStats(answer(attribute(1, big(17)), attribute(2, big(262_144))), ignore)).toEqual({
      entries: 17,
      limit: 262_144,
    });
    expect(decodeGlobalStats(answer(attribute(1, big(U32_MAX))), ignore)).toEqual({
      entries: U32_MAX,
      limit: undefined,
    });
  });

  it('gives nothing for an answer without entries, or cut anywhere', () => {
    const whole = answer(attribute(1, big(17)), attribute(2, big(262_144)));
    for (let length = 0; length < whole.length; length++) {
      expect(decodeGlobalStats(whole.subarray(0, length), ignore)).toBeUndefined();
    }
    expect(decodeGlobalStats(answer(attribute(2, big(1))), ignore)).toBeUndefined();
    expect(decodeGlobalStats(answer(attribute(1, new Uint8Array(3))), ignore)).toBeUndefined();
    expect(decodeGlobalStats(answer(attribute(1, new Uint8Array(8))), ignore)).toBeUndefined();
  });
});

describe('decodeEntry', () => {
  const SEEN_REPLY = 2;
  const ASSURED = 4;

  /**
   * Encodes a conntrack entry with attributes nested as in the kernel, along with attributes that the decoder ignores.
   */
  function entry(protocol: number, status: number, tcpState?: number): Uint8Array {
    const tuple = join(
      attribute(0x8001, join(attribute(1, new Uint8Array(4)), attribute(2, new Uint8Array(4)))),
      attribute(0x8002, join(attribute(1, Uint8Array.of(protocol)), attribute(2, Uint8Array.of(0, 80)))),
    );
    const info = tcpState === undefined ? [] : [attribute(0x8001, attribute(1, Uint8Array.of(tcpState)))];
    return message(
      NEW,
      join(
        HEADER,
        attribute(0x8001, tuple),
        attribute(0x8002, tuple),
        attribute(3, big(status)),
        ...info.map((nested) => attribute(0x8004, nested)),
        attribute(7, big(30)),
      ),
    );
  }

  const decode = (bytes: Uint8Array): (TableEntry | undefined)[] => [...decodeMessages(bytes, ignore)].map(decodeEntry);

  it('names the state of a TCP connection as conntrack(8) does', () => {
    for (const [number, state] of TCP_STATES.entries()) {
      expect(decode(entry(6, SEEN_REPLY | ASSURED, number))).toEqual([{ protocol: 'tcp', state }]);
    }
    expect(decode(entry(6, SEEN_REPLY, 10))).toEqual([undefined]);
  });

  it('reports of other protocols whether there was a reply, and whether they are assured', () => {
    expect(decode(entry(17, 0))).toEqual([{ protocol: 'udp', state: 'unreplied' }]);
    expect(decode(entry(17, SEEN_REPLY))).toEqual([{ protocol: 'udp', state: 'replied' }]);
    expect(decode(entry(17, SEEN_REPLY | ASSURED | 0x188))).toEqual([{ protocol: 'udp', state: 'assured' }]);
    expect(decode(entry(6, 0))).toEqual([{ protocol: 'tcp', state: 'unreplied' }]);
  });

  it('knows the common protocols, and calls the rest other', () => {
    const named = [1, 58, 132, 47, 253].map((number) => decode(entry(number, 0))[0]?.protocol);
    expect(named).toEqual(['icmp', 'icmpv6', 'sctp', 'gre', 'other']);
    for (let number = 0; number < 256; number++) expect(PROTOCOLS).toContain(decode(entry(number, 0))[0]?.protocol);
  });

  it('gives whole entries or none for a table that is cut anywhere', () => {
    const whole = join(entry(6, SEEN_REPLY, 3), entry(17, 0), entry(6, 0, 1));
    const entries = decode(whole);
    for (let length = 0; length < whole.length; length++) {
      const cut = decode(whole.subarray(0, length));
      expect(cut).toEqual(entries.slice(0, cut.length));
    }
  });

  it('gives nothing if something that it needs is missing or too short', () => {
    const proto = (value: Uint8Array) => attribute(1, attribute(2, attribute(1, value)));
    const status = attribute(3, big(0));
    expect(decode(message(NEW, join(HEADER, proto(Uint8Array.of(17)))))).toEqual([undefined]);
    expect(decode(message(NEW, join(HEADER, status)))).toEqual([undefined]);
    expect(decode(message(NEW, join(HEADER, proto(new Uint8Array()), status)))).toEqual([undefined]);
    expect(decode(message(NEW, join(HEADER, attribute(1, attribute(2, new Uint8Array())), status)))).toEqual([
      undefined,
    ]);
    expect(decode(message(GLOBAL_STATS, join(HEADER, proto(Uint8Array.of(17)), status)))).toEqual([undefined]);
  });
});

it('survives any bytes', () => {
  fc.assert(
    fc.property(fc.constantFrom(NEW, CPU_STATS, GLOBAL_STATS), fc.uint8Array({ maxLength: 300 }), (type, bytes) => {
      for (const given of [bytes, message(type, bytes), message(type, join(HEADER, bytes))]) {
        decodeCpuStats(given, ignore);
        decodeGlobalStats(given, ignore);
        for (const each of decodeMessages(given, ignore)) decodeEntry(each);
      }
    }),
  );
});
