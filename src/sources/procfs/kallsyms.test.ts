import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { KernelSymbols, SymbolTable } from './kallsyms.ts';

const KALLSYMS = `0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 T kfree_skb
ffffffff81000180 t ip6_mc_input
ffffffff81000200 t ip6_mc_input.part.0
ffffffff81000200 t an_alias
ffffffff81000300 W weak_one
ffffffff81000400 T _etext
ffffffff82000000 D some_data
ffffffffc0001080 t nft_do_chain\t[nf_tables]
ffffffffc0001000 t nft_first\t[nf_tables]
ffffffffc0001100 d nft_data\t[nf_tables]
`;
const MODULES = `nf_tables 4096 1 nft_ct,nft_counter, Live 0xffffffffc0001000
veth 4096 0 - Live 0xffffffffc0005000
`;

function tableOf(kallsyms: string, modules: string): SymbolTable {
  return new SymbolTable((handle) => kallsyms.split('\n').forEach(handle), modules);
}

describe('SymbolTable', () => {
  const table = tableOf(KALLSYMS, MODULES);

  it.each([
    [0xffffffff81000100n, 'kfree_skb+0x0/0x80'],
    [0xffffffff8100017fn, 'kfree_skb+0x7f/0x80'],
    [0xffffffff81000000n, '_stext+0x0/0x100'],
    [0xffffffff81000210n, 'ip6_mc_input.part.0+0x10/0x100'],
    [0xffffffff810003ffn, 'weak_one+0xff/0x100'],
    [0xffffffffc0001010n, 'nft_first+0x10/0x80 [nf_tables]'],
    [0xffffffffc0001088n, 'nft_do_chain+0x8/0xf80 [nf_tables]'],
  ])('puts %x into words', (address, text) => expect(table.describe(address)).toBe(text));

  it.each([
    ['before the kernel', 0xffffffff80ffffffn],
    ['behind its code', 0xffffffff81000400n],
    ['in its data', 0xffffffff82000010n],
    ['behind a module', 0xffffffffc0002000n],
    ['in a module without symbols', 0xffffffffc0005010n],
    ['nowhere', 0],
  ])('knows nothing %s', (_, address) => expect(table.describe(address)).toBeUndefined());

  it('returns all places of a function', () => {
    expect(table.ranges(['ip6_mc_input', 'nft_first', 'no_such_function'])).toEqual([
      [0xffffffff81000180n, 0xffffffff81000200n],
      [0xffffffff81000200n, 0xffffffff81000300n],
      [0xffffffffc0001000n, 0xffffffffc0001080n],
    ]);
  });

  it('is empty if addresses are hidden', () => {
    const hidden = tableOf(KALLSYMS.replaceAll(/^f{8}\w{8}/gm, '0'.repeat(16)), MODULES);
    expect(hidden.describe(0xffffffff81000100n)).toBeUndefined();
    expect(hidden.ranges(['kfree_skb'])).toEqual([]);
  });

  it('leaves out malformed lines', () => {
    const malformed = tableOf(`what\nffffffff8100 t cut\n${KALLSYMS}ffffffff810003`, `x\n${MODULES}y 1`);
    expect(malformed.describe(0xffffffff81000100n)).toBe('kfree_skb+0x0/0x80');
  });
});

describe('KernelSymbols', () => {
  const proc = mkdtempSync(join(tmpdir(), 'kallsyms-'));
  afterAll(() => rmSync(proc, { recursive: true }));
  const write = (kallsyms: string, modules: string) => {
    writeFileSync(join(proc, 'kallsyms'), kallsyms);
    writeFileSync(join(proc, 'modules'), modules);
  };

  it('reads again only if an address is not found and modules were loaded', () => {
    write(KALLSYMS, MODULES);
    const symbols = new KernelSymbols(proc);
    expect(symbols.describe(0xffffffffc0009004n)).toBeUndefined();
    const later = `${KALLSYMS}ffffffffc0009000 t late\t[late_module]`;
    write(later, MODULES);
    expect(symbols.describe(0xffffffffc0009004n)).toBeUndefined();
    write(later, `${MODULES}late_module 4096 0 - Live 0xffffffffc0009000\n`);
    expect(symbols.describe(0xffffffffc0009004n)).toBe('late+0x4/0x1000 [late_module]');
    expect(symbols.describe(0xffffffff81000100n)).toBe('kfree_skb+0x0/0x80');
  });

  it('knows nothing on a kernel without a list', () => {
    const symbols = new KernelSymbols(join(proc, 'nowhere'));
    expect(symbols.describe(0xffffffff81000100n)).toBeUndefined();
    expect(symbols.ranges(['kfree_skb'])).toEqual([]);
  });

  it('reads a file that is longer than one chunk', () => {
    const many = Array.from({ length: 5_000 }, (_, index) => {
      const address = (0xffffffff81000000n + BigInt(index) * 16n).toString(16);
      return `${address} t function_${index}`;
    });
    write(`${many.join('\n')}\n${(0xffffffff81000000n + 80_000n).toString(16)} T _etext`, MODULES);
    const symbols = new KernelSymbols(proc);
    for (const index of [0, 1, 2_499, 4_999]) {
      expect(symbols.describe(0xffffffff81000000n + BigInt(index) * 16n + 5n)).toBe(`function_${index}+0x5/0x10`);
    }
  });
});
