import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nameOf, namesOf } from '#bpf/layout.ts';
import { readCompiledObject, renderLayouts } from '../../scripts/bpf_layouts.ts';

const BPF = fileURLToPath(new URL('../../src/bpf', import.meta.url));
const USER_HEADERS = `/usr/include/${{ x64: 'x86_64', arm64: 'aarch64' }[process.arch as 'x64' | 'arm64']}-linux-gnu`;

const HEAD = `
#include <linux/bpf.h>
#include <linux/types.h>
#include "common/shared.bpf.h"
SEC("raw_tp/sys_enter") int first(void *ctx) { return 0; }
`;

let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'layouts-'));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function compile(name: string, text: string) {
  const file = `${name}.bpf.o`;
  writeFileSync(join(folder, `${name}.bpf.c`), `${HEAD}${text}`);
  const flags = ['-target', 'bpf', '-mcpu=v3', '-O2', '-g', '-Wall', '-Werror', `-I${BPF}`, `-I${USER_HEADERS}`];
  execFileSync('clang', [...flags, '-c', join(folder, `${name}.bpf.c`), '-o', join(folder, file)], { stdio: 'pipe' });
  return readCompiledObject(file, readFileSync(join(folder, file)));
}

function generated(...objects: readonly { readonly name: string; readonly text: string }[]): Map<string, string> {
  return renderLayouts(objects.map(({ name, text }) => compile(name, text)));
}

describe('an enum of a program', () => {
  const shared = (enumeration: string, name: string) => ({
    name: 'one',
    text: `enum ${name} ${enumeration};\nSHARED_ENUM(${name});`,
  });

  it.each([
    [
      'drops the common prefix of its members',
      'call_kind',
      '{ KIND_FIRST, KIND_SECOND_ONE }',
      'first: 0,\n  second_one: 1',
    ],
    [
      'without a common prefix keeps its names',
      'limit',
      '{ ROOM = 3, NAME_LENGTH = 2 * ROOM }',
      'room: 3,\n  name_length: 6',
    ],
    ['is not cut within a word', 'word', '{ IN_USE, IN_UNIT, IN_URN }', 'use: 0,\n  unit: 1,\n  urn: 2'],
    ['of one member drops its own name', 'place', '{ PLACE_NONE = ~0U }', 'none: 4294967295'],
    [
      'has the highest bit as a positive number',
      'flag',
      '{ FLAG_LAST = 1U << 31, FLAG_OTHER = 1 }',
      'last: 2147483648,\n  other: 1',
    ],
  ])('%s', (_, name, members, lines) => {
    const text = generated(shared(members, name)).get('one.ts');
    const constant = name.replace(/_(.)/, (_match, letter: string) => letter.toUpperCase());
    expect(text).toContain(`/** enum ${name} */\nexport const ${constant} = {\n  ${lines},\n} as const;\n`);
  });

  it('that is not shared is left out', () => {
    const text = 'enum inner { INNER_A, INNER_B };\nenum inner value SEC("other") = INNER_B;';
    expect(generated({ name: 'one', text }).get('one.ts')).not.toContain('inner');
  });

  it('of two objects is written once, and must be the same in both', () => {
    const text = 'enum side { SIDE_A, SIDE_B };\nSHARED_ENUM(side);';
    const files = generated({ name: 'one', text }, { name: 'two', text });
    expect(files.get('common.ts')).toContain('export const side = {\n  a: 0,\n  b: 1,\n} as const;');
    expect(`${files.get('one.ts')}${files.get('two.ts')}`).not.toContain('enum side');
    expect(() => generated({ name: 'one', text }, { name: 'two', text: text.replace('SIDE_B', 'SIDE_B = 7') })).toThrow(
      'the type side is not the same in all objects',
    );
  });
});

it('names the maps, programs and constants of an object, and the entries of its maps', () => {
  const text = `
    enum room { ROOM_ROWS = 12 };
    const volatile __u32 limit = 0;
    struct row { __u64 cookie; };
    struct {
      __uint(type, BPF_MAP_TYPE_ARRAY);
      __uint(max_entries, ROOM_ROWS);
      __type(key, __u32);
      __type(value, struct row);
    } rows SEC(".maps");
    struct {
      __uint(type, BPF_MAP_TYPE_SK_STORAGE);
      __uint(map_flags, BPF_F_NO_PREALLOC);
      __type(key, int);
      __type(value, struct row);
    } states SEC(".maps");
    __attribute__((noinline)) int callee(__u32 index) { return bpf_map_lookup_elem(&rows, &index) != NULL; }
    SEC("raw_tp/sys_exit") int second(void *ctx) { return callee(limit) + bpf_map_delete_elem(&states, &ctx); }
    char LICENSE[] SEC("license") = "GPL";`;
  const file = generated({ name: 'one', text }).get('one.ts') ?? '';
  expect(file).toContain("  readonly constant: 'limit';\n");
  expect(file).toContain("  readonly map: 'rows' | 'states';\n");
  expect(file).toContain("  readonly program: 'first' | 'second';\n");
  expect(file).toContain('export const MAX_ENTRIES = {\n  rows: 12,\n} as const;');
  expect(file).toContain('/** struct row */');
});

it('gives the names of an enum by their values', () => {
  const side = { received: 1, sent: 0 } as const;
  expect(namesOf(side)).toEqual(['sent', 'received']);
  expect([0, 1, 2].map((value) => nameOf(side, value))).toEqual(['sent', 'received', undefined]);
});
