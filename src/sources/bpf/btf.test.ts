import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { Btf, KIND } from './btf.ts';

interface Record {
  readonly name: string;
  readonly kind: number;
  readonly vlen: number;
  readonly sizeOrType: number;
  /** Words that follow the record header. A string stands for its offset in the string section. */
  readonly extra: readonly (number | string)[];
}

/** Encodes BTF in the kernel's format. The string offsets of a module start where those of its base end. */
function encode(
  records: readonly Record[],
  baseStrings: readonly string[] = [],
): { bytes: Uint8Array; strings: string[] } {
  const strings = [...baseStrings];
  const own = baseStrings.length === 0 ? [''] : [];
  const offsetOf = (name: string) => {
    if (name === '') return 0;
    if (!strings.includes(name) && !own.includes(name)) own.push(name);
    const all = [...strings, ...own];
    return all.slice(0, all.indexOf(name)).reduce((sum, text) => sum + text.length + 1, 0);
  };
  const words = records.flatMap(({ name, kind, vlen, sizeOrType, extra }) => [
    offsetOf(name),
    (kind << 24) | vlen,
    sizeOrType,
    ...extra.map((word) => (typeof word === 'string' ? offsetOf(word) : word)),
  ]);
  const text = Buffer.from(`${own.join('\0')}\0`, 'latin1');
  const bytes = Buffer.alloc(24 + words.length * 4 + text.length);
  bytes.writeUInt16LE(0xeb9f, 0);
  bytes.writeUInt8(1, 2);
  for (const [index, word] of [24, 0, words.length * 4, words.length * 4, text.length].entries())
    bytes.writeUInt32LE(word, 4 + index * 4);
  for (const [index, word] of words.entries()) bytes.writeUInt32LE(word >>> 0, 24 + index * 4);
  text.copy(bytes, 24 + words.length * 4);
  return { bytes: new Uint8Array(bytes), strings: [...strings, ...own] };
}

const base = encode([
  { name: 'int', kind: KIND.int, vlen: 0, sizeOrType: 4, extra: [32] },
  { name: 'reason', kind: KIND.enum, vlen: 2, sizeOrType: 4, extra: ['NONE', 0, 'SHARED', 7] },
  { name: '', kind: KIND.functionProto, vlen: 2, sizeOrType: 0, extra: ['sk', 1, 'skb', 1] },
  { name: 'send', kind: KIND.function, vlen: 0, sizeOrType: 3, extra: [] },
  { name: 'count', kind: KIND.variable, vlen: 0, sizeOrType: 1, extra: [1] },
  { name: '.data..percpu', kind: KIND.dataSection, vlen: 1, sizeOrType: 64, extra: [5, 48, 4] },
]);
const split = encode(
  [
    {
      name: 'own_reason',
      kind: KIND.enum,
      vlen: 3,
      sizeOrType: 4,
      extra: ['FIRST', 0x20000, 'SHARED', 0x20001, 'LAST', 0x20002],
    },
    { name: '', kind: KIND.functionProto, vlen: 1, sizeOrType: 0, extra: ['sk', 1] },
    { name: 'own_send', kind: KIND.function, vlen: 0, sizeOrType: 8, extra: [] },
  ],
  base.strings,
);

it('reads the types of a module on top of those of the kernel', () => {
  const kernel = new Btf(base.bytes);
  const module = new Btf(split.bytes, kernel);
  const type = module.find(KIND.enum, 'own_reason');
  expect(type?.id).toBe(7);
  expect([...(type === undefined ? [] : module.enumValues(type))]).toEqual([
    ['FIRST', 0x20000],
    ['SHARED', 0x20001],
    ['LAST', 0x20002],
  ]);
  expect(module.functionParameters('own_send')).toBe(1);
  expect(module.type(1).name).toBe('int');
  expect(module.find(KIND.enum, 'reason')).toBeUndefined();
  expect(kernel.functionParameters('send')).toBe(2);
  expect(kernel.functionParameters('own_send')).toBeUndefined();
  expect(kernel.perCpuVariable('count')).toMatchObject({ offset: 48, type: { name: 'int' } });
  expect(kernel.perCpuVariable('send')).toBeUndefined();
});

it('returns or throws, and never hangs, on any bytes', () => {
  const ask = (bytes: Uint8Array) => {
    try {
      const btf = new Btf(bytes, new Btf(base.bytes));
      btf.functionParameters('own_send');
      btf.perCpuVariable('count');
      const type = btf.find(KIND.enum, 'own_reason');
      if (type !== undefined) btf.enumValues(type);
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
    }
  };
  for (let length = 0; length <= split.bytes.length; length++) ask(split.bytes.slice(0, length));
  fc.assert(
    fc.property(fc.nat(split.bytes.length - 1), fc.nat(255), (at, byte) => {
      const bytes = split.bytes.slice();
      bytes[at] = byte;
      ask(bytes);
    }),
  );
});
