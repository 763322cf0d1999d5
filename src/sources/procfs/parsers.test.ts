import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseOpenFilesLimit } from './fd.ts';
import { parseProcessIo } from './io.ts';
import { parseNetDev } from './net_dev.ts';
import { parseCounter, parseHexCounter } from './number.ts';
import { parseSnmp, parseSnmp6 } from './snmp.ts';
import { parseSockstat } from './sockstat.ts';
import { parseSoftnetStat } from './softnet_stat.ts';
import { parseStat } from './stat.ts';

const ignore = () => undefined;

/** Returns the parts of a text that a parser reports as malformed. */
function leftOut(parse: (malformed: (what: string) => void) => unknown): string[] {
  const said: string[] = [];
  parse((what) => said.push(what));
  return said;
}

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const word = fc.stringMatching(/^[A-Za-z][A-Za-z0-9]{0,12}$/);

describe('parseCounter', () => {
  it('gives every unsigned 64-bit number exactly', () => {
    fc.assert(fc.property(u64, (value) => BigInt(parseCounter(String(value)) ?? -1) === value));
  });

  it('reads a negative number as the unsigned one of the same bits', () => {
    expect(parseCounter('-1')).toBe(2n ** 64n - 1n);
  });

  it.each(['', 'x', '1x', ' 1', '1.5', '18446744073709551616', '99999999999999999999', '--1', '0x10'])(
    'refuses %j',
    (text) => expect(parseCounter(text)).toBeUndefined(),
  );
});

describe('parseHexCounter', () => {
  it('gives every unsigned 64-bit number exactly', () => {
    fc.assert(fc.property(u64, (value) => BigInt(parseHexCounter(value.toString(16)) ?? -1) === value));
  });

  it.each(['', 'g', '0x1', '-1', ' 1', '10000000000000000'])('refuses %j', (text) =>
    expect(parseHexCounter(text)).toBeUndefined(),
  );
});

describe('parseSnmp', () => {
  it('returns what was written, for any fields', () => {
    const table = fc.uniqueArray(fc.tuple(word, u64), { selector: ([name]) => name, minLength: 1 });
    fc.assert(
      fc.property(word, table, (prefix, fields) => {
        const names = fields.map(([name]) => name).join(' ');
        const values = fields.map(([, value]) => value).join(' ');
        const parsed = parseSnmp(`${prefix}: ${names}\n${prefix}: ${values}\n`, ignore).get(prefix);
        return fields.every(([name, value]) => BigInt(parsed?.get(name) ?? -1) === value);
      }),
    );
  });

  it('leaves out a pair whose lines do not match, and reads the next', () => {
    const text = 'Tcp: A B\nTcp: 1\nUdp: C\nUdp: 3\nOdd: D\nIp: E\nIp: 5\n';
    expect(parseSnmp(text, ignore)).toEqual(
      new Map([
        ['Udp', new Map([['C', 3]])],
        ['Ip', new Map([['E', 5]])],
      ]),
    );
  });

  it('leaves out only the value that is not a number', () => {
    expect(parseSnmp('Tcp: A B C\nTcp: 1 x 3\n', ignore).get('Tcp')).toEqual(
      new Map([
        ['A', 1],
        ['C', 3],
      ]),
    );
  });

  it('never gives a wrong value for a file that is cut anywhere', () => {
    const text = 'Tcp: A B\nTcp: 111 222\nUdp: C D\nUdp: 333 444\n';
    const whole = parseSnmp(text, ignore);
    for (let length = 0; length < text.length; length++) {
      for (const [prefix, fields] of parseSnmp(text.slice(0, length), ignore)) {
        // The text may end in the middle of a number. The kernel writes whole lines, so a last line without a newline
        // must be ignored.
        const complete = text
          .slice(0, length)
          .includes(`${prefix}: ${[...(whole.get(prefix)?.values() ?? [])].join(' ')}\n`);
        if (complete) expect(fields).toEqual(whole.get(prefix));
        else expect.soft([...fields.values()], `cut at ${length}`).toEqual([]);
      }
    }
  });

  it('survives garbage', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => parseSnmp(text, ignore) instanceof Map));
  });
});

describe('parseSnmp6', () => {
  it('reads one counter a line, and skips other lines', () => {
    const text =
      'Ip6InReceives                   \t7\nUdp6InDatagrams                 \t18446744073709551615\nbad x\nmore 1 2\n\n';
    expect(parseSnmp6(text, ignore)).toEqual(
      new Map<string, number | bigint>([
        ['Ip6InReceives', 7],
        ['Udp6InDatagrams', 2n ** 64n - 1n],
      ]),
    );
  });
});

describe('parseSockstat', () => {
  it('reads names and numbers by line', () => {
    const stat = parseSockstat(
      'sockets: used 287\nTCP: inuse 5 orphan 0 tw 2 alloc 9 mem 1\nFRAG: inuse 0 memory\n',
      ignore,
    );
    expect(stat.get('sockets')?.get('used')).toBe(287);
    expect(stat.get('TCP')).toEqual(
      new Map([
        ['inuse', 5],
        ['orphan', 0],
        ['tw', 2],
        ['alloc', 9],
        ['mem', 1],
      ]),
    );
    expect(stat.get('FRAG')).toEqual(new Map([['inuse', 0]]));
  });

  it('survives garbage', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => parseSockstat(text, ignore) instanceof Map));
  });
});

describe('parseNetDev', () => {
  const numbers = fc.array(u64, { minLength: 16, maxLength: 18 });

  it('returns each column of each device, even if a newer kernel adds columns', () => {
    fc.assert(
      fc.property(numbers, (values) => {
        const stats = parseNetDev(`Inter-| x\n face |y\n  eth0: ${values.join(' ')}\n`, ignore).get('eth0');
        return BigInt(stats?.receivedBytes ?? -1) === values[0] && BigInt(stats?.sentCompressed ?? -1) === values[15];
      }),
    );
  });

  it('reads the name of a device as UTF-8, as tools do', () => {
    const row = Array.from({ length: 16 }, () => 1).join(' ');
    const text = Buffer.from(`üñ,x: ${row}\n`).toString('latin1');
    expect([...parseNetDev(text, ignore).keys()]).toEqual(['üñ,x']);
  });

  it('leaves out a row with a missing or malformed column', () => {
    const row = Array.from({ length: 16 }, (_, index) => index);
    const text = `lo: ${row.slice(1).join(' ')}\neth0: ${row.join(' ')}\neth1: ${row.join(' ').replace('7', 'x')}\n`;
    expect([...parseNetDev(text, ignore).keys()]).toEqual(['eth0']);
  });

  it('accepts names with a colon and numbers without a blank before them', () => {
    const row = Array.from({ length: 16 }, () => 1).join(' ');
    expect([...parseNetDev(`eth0:1: ${row}\nveth1a:${row}\n`, ignore).keys()]).toEqual(['eth0:1', 'veth1a']);
  });

  it('survives garbage', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => parseNetDev(text, ignore) instanceof Map));
  });
});

describe('parseSoftnetStat', () => {
  const row = (...cells: number[]) => cells.map((cell) => cell.toString(16).padStart(8, '0')).join(' ');

  it('takes the CPU from its column if there is one', () => {
    const text = `${row(1, 2, 3, 0, 0, 0, 0, 0, 0, 4, 5, 6, 3, 0, 0)}\n`;
    expect(parseSoftnetStat(text, [0], ignore)).toEqual([
      { cpu: 3, processed: 1, dropped: 2, timeSqueezed: 3, receivedRps: 4, flowLimitReached: 5, backlogLength: 6 },
    ]);
  });

  it('takes the line for the online CPU on kernels without that column', () => {
    const cells = [9, 0, 0, 0, 0, 0, 0, 0, 0];
    expect(parseSoftnetStat(`${row(...cells)}\n${row(...cells)}\n`, [0, 5], ignore).map(({ cpu }) => cpu)).toEqual([
      0, 5,
    ]);
    expect(parseSoftnetStat(`${row(...cells)}\n`, [0], ignore)[0]?.receivedRps).toBeUndefined();
  });

  it('leaves out a malformed line, without shifting later ones', () => {
    const cells = [9, 0, 0, 0, 0, 0, 0, 0, 0];
    expect(parseSoftnetStat(`zz\n${row(...cells)}\n`, [0, 5], ignore).map(({ cpu }) => cpu)).toEqual([5]);
  });
});

describe('pieces that are left out are reported', () => {
  const snmp = 'Tcp: A B\nTcp: 111 222\nUdp: C D\nUdp: 333 444\n';
  const snmp6 = 'Udp6InDatagrams 5\nUdp6NoPorts 6\n';
  const sockstat = 'sockets: used 287\nTCP: inuse 5 orphan 0\n';
  const dev = `Inter-|   Receive\n face |bytes\n  eth0: ${Array.from({ length: 16 }, () => 77).join(' ')}\n`;
  const softnet = `${Array.from({ length: 13 }, () => '0000000a').join(' ')}\n`;

  it.each([
    ['net/snmp', snmp, parseSnmp],
    ['net/snmp6', snmp6, parseSnmp6],
    ['net/sockstat', sockstat, parseSockstat],
    ['net/dev', dev, parseNetDev],
    [
      'net/softnet_stat',
      softnet,
      (text: string, malformed: (what: string) => void) => parseSoftnetStat(text, [0], malformed),
    ],
  ] as const)('%s: whole says nothing, cut inside of a line says so', (_, text, parse) => {
    expect(leftOut((malformed) => parse(text, malformed))).toEqual([]);
    for (let length = 1; length < text.length; length++) {
      if (text[length - 1] === '\n') continue;
      expect(
        leftOut((malformed) => parse(text.slice(0, length), malformed)).length,
        text.slice(0, length),
      ).toBeGreaterThan(0);
    }
  });

  it.each([
    ['names without values', 'Tcp: A B\n', parseSnmp],
    ['fewer values than names', 'Tcp: A B\nTcp: 1\n', parseSnmp],
    ['a value that is not a number', 'Tcp: A B\nTcp: 1 x\n', parseSnmp],
    ['a counter with two values', 'Udp6InDatagrams 1 2\n', parseSnmp6],
    ['a name without its number', 'TCP: inuse\n', parseSockstat],
    ['no name', 'inuse 5\n', parseSockstat],
    ['fifteen columns', `eth0: ${Array.from({ length: 15 }, () => 1).join(' ')}\n`, parseNetDev],
  ] as const)('%s', (_, text, parse) => {
    expect(leftOut((malformed) => parse(text, malformed))).toHaveLength(1);
  });
});

describe('parseStat', () => {
  const rest = (values: readonly (string | number)[]) => `S ${values.join(' ')}\n`;
  const numbers = fc.array(fc.nat(), { minLength: 19, maxLength: 60 });

  it('returns each field for any command name, even if a newer kernel adds fields', () => {
    fc.assert(
      fc.property(fc.string(), numbers, (comm, values) => {
        const bytes = Buffer.from(comm, 'utf8').toString('latin1');
        expect(parseStat(`12 (${bytes}) ${rest(values)}`)).toEqual({
          comm,
          state: 'S',
          parent: values[0],
          faults: values[6],
          childFaults: values[7],
          startTime: values[18],
        });
      }),
    );
  });

  it('returns nothing for a line that is cut anywhere, or has a field that is not a number', () => {
    const values = Array.from({ length: 50 }, (_, index) => index + 100);
    const text = `12 (a (b) c) ${rest(values)}`;
    for (let length = 0; length < text.length; length++) expect(parseStat(text.slice(0, length))).toBeUndefined();
    for (const index of [0, 6, 7, 18]) {
      expect(parseStat(`12 (x) ${rest(values.with(index, -1))}`)).toBeUndefined();
      expect(parseStat(`12 (x) ${rest(values.map(String).with(index, '1e3'))}`)).toBeUndefined();
    }
    expect(parseStat(`12 (x) ${values.join(' ')}\n`)).toBeUndefined();
  });

  it('survives garbage', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => typeof parseStat(text) !== 'string'));
  });
});

describe('parseProcessIo', () => {
  const name = fc.stringMatching(/^[a-z][a-z_]{0,25}$/);

  it('returns every counter by its name, in any order', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(name, u64), { selector: ([field]) => field }), (fields) => {
        const parsed = parseProcessIo(fields.map(([field, value]) => `${field}: ${value}\n`).join(''), ignore);
        expect(parsed.size).toBe(fields.length);
        for (const [field, value] of fields) expect(BigInt(parsed.get(field) ?? -1)).toBe(value);
      }),
    );
  });

  it('leaves out only the line that is cut short or malformed', () => {
    const text = 'rchar: 111\nsyscr: 222\n';
    for (let length = 0; length < text.length; length++) {
      const expected = length > 'rchar: 111'.length ? [['rchar', 111]] : [];
      expect([...parseProcessIo(text.slice(0, length), ignore)]).toEqual(expected);
    }
    expect(parseProcessIo('rchar: -1\nwchar 1\nsyscr: 2 3\nsyscw:\nread_bytes: 5\n', ignore)).toEqual(
      new Map([['read_bytes', 5]]),
    );
  });

  it('survives garbage', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => parseProcessIo(text, ignore) instanceof Map));
  });
});

describe('parseOpenFilesLimit', () => {
  const row = (soft: number | string, hard: number | string) =>
    `${'Max open files'.padEnd(25)} ${String(soft).padEnd(20)} ${String(hard).padEnd(20)} ${'files'.padEnd(10)}\n`;

  it('gives the soft limit', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (soft, hard) => {
        const text = `Limit Soft Hard Units\nMax processes 7 8 processes\n${row(soft, hard)}Max locked memory 9 9 bytes\n`;
        expect(parseOpenFilesLimit(text)).toBe(soft);
      }),
    );
    expect(parseOpenFilesLimit(row(1024, 'unlimited'))).toBe(1024);
  });

  it('gives nothing if there is none, or the line is cut short or malformed', () => {
    const text = row(1024, 4096);
    for (let length = 0; length < text.length; length++)
      expect(parseOpenFilesLimit(text.slice(0, length))).toBeUndefined();
    for (const soft of ['unlimited', '-1', '1x', '99999999999999999999']) {
      expect(parseOpenFilesLimit(row(soft, 4096))).toBeUndefined();
    }
  });

  it('survives garbage', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => parseOpenFilesLimit(text) === undefined));
  });
});
