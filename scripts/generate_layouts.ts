import { readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Btf, type BtfType, KIND } from '#sources/bpf/btf.ts';
import { elfSection } from '#sources/bpf/elf.ts';
import { writeGenerated } from './write_generated.ts';

/**
 * Writes src/bpf/generated/<object>.ts, and common.ts for what several objects share, from the BTF of each compiled object: readers for the structs that cross to
 * user space, so that no offset is written twice. Those are the keys and values of maps, and the records of rings.
 */

const OBJECTS = new URL('../dist/bpf/', import.meta.url);
const TARGET = new URL('../src/bpf/generated/', import.meta.url);
const RECORD_SUFFIX = '_record';

function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function pointee(btf: Btf, pointer: number): BtfType {
  return btf.resolve(btf.resolve(pointer).sizeOrType);
}

/** The structs that user space reads, in the order of their names. */
function sharedStructs(btf: Btf): BtfType[] {
  const found = new Map<string, BtfType>();
  const add = (type: BtfType) => {
    if (type.kind === KIND.struct) found.set(type.name, type);
  };
  const maps = btf.find(KIND.dataSection, '.maps');
  for (const { type } of maps === undefined ? [] : btf.sectionVariables(maps)) {
    for (const member of btf.members(btf.resolve(btf.type(type).sizeOrType))) {
      if (member.name === 'key' || member.name === 'value') add(pointee(btf, member.type));
    }
  }
  for (const { name, variable } of variables(btf, '.rodata')) {
    if (name.endsWith(RECORD_SUFFIX)) add(pointee(btf, variable.sizeOrType));
  }
  return [...found.values()].sort((a, b) => a.name.localeCompare(b.name));
}

function variables(btf: Btf, section: string): { name: string; variable: BtfType }[] {
  const data = btf.find(KIND.dataSection, section);
  if (data === undefined) return [];
  return btf.sectionVariables(data).map(({ type }) => ({ name: btf.type(type).name, variable: btf.type(type) }));
}

/** A field as a reader: `(view, at) => …`, with an index for an array. */
interface Field {
  readonly name: string;
  readonly offset: number;
  readonly reader?: string;
  readonly count?: number;
}

function fieldsOf(btf: Btf, struct: BtfType, shared: readonly string[], base = 0, prefix = ''): Field[] {
  return btf.members(struct).flatMap((member) => {
    const offset = base + member.bits / 8;
    const path = prefix === '' ? member.name : `${prefix}_${member.name}`;
    const name = camel(path);
    const type = btf.resolve(member.type);
    // One that has readers of its own is read with them, at its offset.
    if (type.kind === KIND.struct && shared.includes(type.name)) return [{ name, offset }];
    if (type.kind === KIND.struct) return fieldsOf(btf, type, shared, offset, path);
    if (type.kind !== KIND.array)
      return [{ name, offset, reader: `(view: DataView, at: number) => ${scalar(btf, type, `at + ${offset}`)}` }];
    return [arrayField(btf, type, name, offset)];
  });
}

function arrayField(btf: Btf, type: BtfType, name: string, offset: number): Field {
  const { element, count } = btf.array(type);
  const inner = btf.resolve(element);
  if (isByte(btf, inner)) {
    const read = inner.name === 'char' ? 'readString' : 'readBytes';
    return { name, offset, reader: `(view: DataView, at: number) => ${read}(view, at + ${offset}, ${count})` };
  }
  const stride = inner.kind === KIND.array ? btf.array(inner).count : inner.sizeOrType;
  const place = `at + ${offset} + index * ${stride}`;
  const value = inner.kind === KIND.array ? `readString(view, ${place}, ${stride})` : scalar(btf, inner, place);
  return { name, offset, count, reader: `(view: DataView, at: number, index: number) => ${value}` };
}

function isByte(btf: Btf, type: BtfType): boolean {
  return type.kind === KIND.int && btf.integer(type).bits === 8;
}

function scalar(btf: Btf, type: BtfType, place: string): string {
  if (type.kind === KIND.enum) return `view.getUint32(${place}, true)`;
  if (type.kind !== KIND.int) throw new Error(`no reader for a member of kind ${type.kind} (${type.name})`);
  const { bits, signed } = btf.integer(type);
  if (bits === 64) return `readCounter(view, ${place})`;
  const little = bits === 8 ? '' : ', true';
  return `view.get${signed ? 'Int' : 'Uint'}${bits}(${place}${little})`;
}

function renderStruct(btf: Btf, struct: BtfType, shared: readonly string[]): string {
  const fields = fieldsOf(btf, struct, shared);
  const lines = fields.flatMap(({ name, reader, count }) => [
    ...(reader === undefined ? [] : [`  ${name}: ${reader},`]),
    ...(count === undefined ? [] : [`  ${name}Count: ${count},`]),
  ]);
  const offsets = fields.map(({ name, offset }) => `${name}: ${offset}`).join(', ');
  return [
    `/** struct ${struct.name} */`,
    `export const ${camel(struct.name)} = {`,
    `  SIZE: ${struct.sizeOrType},`,
    `  offsets: { ${offsets} },`,
    ...lines,
    '} as const;',
  ].join('\n');
}

const NOTICE = '// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.';

function importsOf(body: string): string[] {
  const readers = ['readBytes', 'readString'].filter((name) => body.includes(`${name}(`));
  return [
    ...(body.includes('readCounter(') ? ["import { readCounter } from '#core/counter.ts';"] : []),
    ...(readers.length > 0 ? [`import { ${readers.join(', ')} } from '../layout.ts';`] : []),
  ];
}

function renderObject(file: string, btf: Btf, structs: readonly string[]): string {
  const body = structs.join('\n\n');
  const constants = variables(btf, '.rodata')
    .map(({ name }) => name)
    .filter((name) => !name.endsWith(RECORD_SUFFIX) && !name.includes('.'));
  return [
    NOTICE,
    ...importsOf(body),
    '',
    `export const FILE = '${file}';`,
    '',
    '/** Names of the `const volatile` variables. */',
    `export type Constant = ${constants.length === 0 ? 'never' : constants.map((name) => `'${name}'`).join(' | ')};`,
    '',
    ...(body === '' ? [] : [body, '']),
  ].join('\n');
}

interface Layout {
  readonly file: string;
  readonly btf: Btf;
  /** The readers of each struct, by its name. */
  readonly structs: ReadonlyMap<string, string>;
}

const layouts: Layout[] = readdirSync(OBJECTS)
  .filter((name) => name.endsWith('.bpf.o'))
  .map((file) => {
    const btf = new Btf(elfSection(readFileSync(new URL(file, OBJECTS)), '.BTF'));
    const structs = sharedStructs(btf);
    const names = structs.map(({ name }) => name);
    return { file, btf, structs: new Map(structs.map((struct) => [struct.name, renderStruct(btf, struct, names)])) };
  });

/** Structs of the common headers are in several objects: their readers are written once. */
const common = new Map<string, string>();
for (const [index, { structs }] of layouts.entries()) {
  for (const [name, text] of structs) {
    const others = layouts.slice(index + 1).filter((layout) => layout.structs.has(name));
    if (others.some((layout) => layout.structs.get(name) !== text))
      throw new Error(`struct ${name} is not the same in all objects`);
    if (others.length > 0) common.set(name, text);
  }
}

for (const { file, btf, structs } of layouts) {
  const own = [...structs].filter(([name]) => !common.has(name)).map(([, text]) => text);
  writeGenerated(new URL(`${basename(file, '.bpf.o')}.ts`, TARGET), renderObject(file, btf, own));
}
const shared = [...common].sort(([a], [b]) => a.localeCompare(b)).map(([, text]) => text);
const body = shared.join('\n\n');
writeGenerated(new URL('common.ts', TARGET), [NOTICE, ...importsOf(body), '', body, ''].join('\n'));
