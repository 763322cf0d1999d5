import { basename } from 'node:path';
import { Btf, type BtfType, KIND } from '#sources/bpf/btf.ts';
import { elfSection } from '#sources/bpf/elf.ts';

/**
 * Renders src/bpf/generated from the compiled objects: the structs and enums that BPF programs share with user space,
 * and the names of maps, programs, constants and settings. None of these definitions has to be repeated in TypeScript.
 */

/** Section of variables whose only purpose is to keep shared enums in the BTF (src/bpf/common/shared.bpf.h). */
const SHARED_SECTION = 'shared';
/**
 * Name suffix of variables whose only purpose is to keep the structs of ring records in the BTF
 * (src/bpf/common/events.bpf.h).
 */
const RECORD_SUFFIX = '_record';

const NOTICE = '// Made by scripts/generate_layouts.ts from the BTF of the compiled object. Do not edit.';

function camel(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}

function pointee(btf: Btf, pointer: number): BtfType {
  return btf.resolve(btf.resolve(pointer).sizeOrType);
}

function variables(btf: Btf, section: string): { name: string; variable: BtfType }[] {
  const data = btf.find(KIND.dataSection, section);
  if (data === undefined) return [];
  return btf.sectionVariables(data).map(({ type }) => ({ name: btf.type(type).name, variable: btf.type(type) }));
}

interface MapDefinition {
  readonly name: string;
  /** Type of the map: enum bpf_map_type in include/uapi/linux/bpf.h. */
  readonly type: number;
  /** Undefined for socket storage, the only map type in use that has no size. */
  readonly maxEntries: number | undefined;
  /** Sizes in bytes; 0 if the map has no key or value. */
  readonly keyBytes: number;
  readonly valueBytes: number;
  readonly structs: readonly BtfType[];
}

/**
 * Returns the maps of an object. In BTF, a map is a variable in the section `.maps`. Each member of its struct is a
 * pointer, either to a type or to an array whose length encodes a number.
 */
export function mapsOf(btf: Btf): MapDefinition[] {
  return variables(btf, '.maps').map(({ name, variable }) => {
    const members = btf.members(btf.resolve(variable.sizeOrType));
    const target = (member: string) => {
      const found = members.find((one) => one.name === member);
      return found === undefined ? undefined : pointee(btf, found.type);
    };
    const entries = target('max_entries');
    const types = [target('key'), target('value')].filter((type) => type !== undefined);
    const kind = target('type');
    if (kind === undefined) throw new Error(`the map ${name} has no type`);
    return {
      name,
      type: btf.array(kind).count,
      maxEntries: entries && btf.array(entries).count,
      keyBytes: sizeOf(btf, target('key')),
      valueBytes: sizeOf(btf, target('value')),
      structs: types.filter(isStruct),
    };
  });
}

const POINTER_BYTES = 8;

function sizeOf(btf: Btf, type: BtfType | undefined): number {
  if (type === undefined) return 0;
  if (type.kind === KIND.pointer) return POINTER_BYTES;
  if (type.kind !== KIND.array) return type.sizeOrType;
  const { count, element } = btf.array(type);
  return count * sizeOf(btf, btf.resolve(element));
}

function isStruct({ kind }: BtfType): boolean {
  return kind === KIND.struct;
}

/** Returns the structs that user space reads: keys and values of maps, and records of rings. */
function sharedStructs(btf: Btf, maps: readonly MapDefinition[]): BtfType[] {
  const records = variables(btf, '.rodata')
    .filter(({ name }) => name.endsWith(RECORD_SUFFIX))
    .map(({ variable }) => pointee(btf, variable.sizeOrType));
  const structs = [...maps.flatMap((map) => map.structs), ...records];
  return [...new Map(structs.map((struct) => [struct.name, struct])).values()].sort(byName);
}

function sharedEnums(btf: Btf): BtfType[] {
  return variables(btf, SHARED_SECTION)
    .map(({ variable }) => btf.resolve(variable.sizeOrType))
    .sort(byName);
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name.localeCompare(b.name);
}

/**
 * A field of a struct. `reader` is the source code of a function `(view, at) => …`. For an array, the function has an
 * index as additional parameter.
 */
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
    // A nested struct with its own readers is represented by its offset.
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
  // Structs in an array are represented by the offset of the first one.
  if (inner.kind === KIND.struct) return { name, offset, count };
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

/**
 * Returns the longest common prefix of all names that ends with `_`. If there is only one name, the prefix is the name
 * of the enum.
 */
function commonPrefix(enumName: string, names: readonly string[]): string {
  const [first = '', ...others] = names;
  if (others.length === 0) return first.startsWith(`${enumName.toUpperCase()}_`) ? `${enumName}_` : '';
  let length = first.lastIndexOf('_') + 1;
  while (!others.every((name) => name.startsWith(first.slice(0, length)))) {
    length = first.lastIndexOf('_', length - 2) + 1;
  }
  return first.slice(0, length);
}

/** Renders an enum. Member names lose their common prefix and become lower case: KIND_RTO becomes `rto`. */
function renderEnum(btf: Btf, type: BtfType): string {
  const values = [...btf.enumValues(type)];
  const prefix = commonPrefix(
    type.name,
    values.map(([name]) => name),
  );
  const lines = values.map(([name, value]) => `  ${name.slice(prefix.length).toLowerCase()}: ${value},`);
  return [`/** enum ${type.name} */`, `export const ${camel(type.name)} = {`, ...lines, '} as const;'].join('\n');
}

function renderUnion(names: readonly string[]): string {
  return names.length === 0 ? 'never' : names.map((name) => `'${name}'`).join(' | ');
}

function renderEntries(maps: readonly Pick<MapDefinition, 'name' | 'maxEntries'>[]): string[] {
  const sized = maps.filter(({ maxEntries }) => maxEntries !== undefined);
  return sized.length === 0
    ? []
    : [
        '/** Number of entries of each map, or size of a ring in bytes, as in the object file. */',
        'export const MAX_ENTRIES = {',
        ...sized.map(({ name, maxEntries }) => `  ${name}: ${maxEntries},`),
        '} as const;',
        '',
      ];
}

function importsOf(body: string): string[] {
  const readers = ['readBytes', 'readString'].filter((name) => body.includes(`${name}(`));
  return [
    ...(body.includes('readCounter(') ? ["import { readCounter } from '#core/counter.ts';"] : []),
    ...(readers.length > 0 ? [`import { ${readers.join(', ')} } from '../layout.ts';`] : []),
  ];
}

export interface CompiledObject {
  /** Name of the object file. */
  readonly file: string;
  readonly btf: Btf;
  readonly programs: readonly string[];
}

/** @throws if the file is not an object file with BTF */
export function readCompiledObject(file: string, bytes: Uint8Array): CompiledObject {
  const btf = new Btf(elfSection(bytes, '.BTF'));
  return { file, btf, programs: programsOf(btf, elfSection(bytes, '.BTF.ext')) };
}

/**
 * Returns the names of the programs. These are the functions outside of .text, which contains functions that programs
 * call. Kernel: Documentation/bpf/btf.rst, .BTF.ext.
 */
function programsOf(btf: Btf, extension: Uint8Array): string[] {
  const view = new DataView(extension.buffer, extension.byteOffset, extension.byteLength);
  const word = (at: number) => view.getUint32(at, true);
  const start = word(4) + word(8);
  const end = start + word(12);
  const recordBytes = word(start);
  const programs: string[] = [];
  for (let at = start + 4; at < end; ) {
    const isText = btf.string(word(at)) === '.text';
    const count = word(at + 4);
    for (let index = 0; index < count && !isText; index++) {
      programs.push(btf.type(word(at + 8 + index * recordBytes + 4)).name);
    }
    at += 8 + count * recordBytes;
  }
  return programs;
}

interface Described extends CompiledObject {
  readonly maps: readonly MapDefinition[];
  readonly constants: readonly string[];
  readonly settings: readonly string[];
  /** Rendered TypeScript code of each enum and struct, by name. */
  readonly types: ReadonlyMap<string, string>;
}

function describe(object: CompiledObject): Described {
  const { btf } = object;
  const maps = mapsOf(btf);
  const structs = sharedStructs(btf, maps);
  const names = structs.map(({ name }) => name);
  return {
    ...object,
    maps,
    constants: variables(btf, '.rodata')
      .map(({ name }) => name)
      .filter((name) => !name.endsWith(RECORD_SUFFIX) && !name.includes('.')),
    settings: variables(btf, '.data').map(({ name }) => name),
    types: new Map([
      ...sharedEnums(btf).map((type) => [type.name, renderEnum(btf, type)] as const),
      ...structs.map((struct) => [struct.name, renderStruct(btf, struct, names)] as const),
    ]),
  };
}

/**
 * Returns the entries that occur in several objects, sorted by name. They come from common headers, and are written
 * only to common.ts.
 * @throws if two objects have different entries with the same name
 */
function inSeveral<T>(what: string, objects: readonly ReadonlyMap<string, T>[]): Map<string, T> {
  const seen = new Map<string, T>();
  const several = new Map<string, T>();
  for (const [name, value] of objects.flatMap((object) => [...object])) {
    if (seen.has(name)) {
      if (seen.get(name) !== value) throw new Error(`${what} ${name} is not the same in all objects`);
      several.set(name, value);
    }
    seen.set(name, value);
  }
  return new Map([...several].sort(([a], [b]) => a.localeCompare(b)));
}

function renderObject({ file, maps, programs, constants, settings, types }: Described, common: Common): string {
  const body = [...types].filter(([name]) => !common.types.has(name)).map(([, text]) => text);
  return [
    NOTICE,
    ...importsOf(body.join()),
    '',
    `export const FILE = '${file}';`,
    '',
    '/** Names in the object. Constants are set before the programs run, and settings also while they run. */',
    'export interface Layout {',
    `  readonly constant: ${renderUnion(constants)};`,
    `  readonly setting: ${renderUnion(settings)};`,
    `  readonly map: ${renderUnion(maps.map(({ name }) => name))};`,
    `  readonly program: ${renderUnion(programs)};`,
    '}',
    '',
    ...renderEntries(maps.filter(({ name }) => !common.maps.has(name))),
    ...body.flatMap((text) => [text, '']),
  ].join('\n');
}

interface Common {
  readonly types: ReadonlyMap<string, string>;
  readonly maps: ReadonlyMap<string, number | undefined>;
  readonly constants: ReadonlyMap<string, true>;
  readonly settings: ReadonlyMap<string, true>;
}

function renderCommon({ types, maps, constants, settings }: Common): string {
  const body = [...types.values()];
  const entries = [...maps].map(([name, maxEntries]) => ({ name, maxEntries }));
  return [
    NOTICE,
    ...importsOf(body.join()),
    '',
    '/** Names that several objects share. */',
    'export interface CommonLayout {',
    `  readonly constant: ${renderUnion([...constants.keys()])};`,
    `  readonly setting: ${renderUnion([...settings.keys()])};`,
    `  readonly map: ${renderUnion([...maps.keys()])};`,
    '}',
    '',
    ...renderEntries(entries),
    ...body.flatMap((text) => [text, '']),
  ].join('\n');
}

/**
 * Returns the generated files by name: one for each object, and common.ts for the entries that several objects share.
 * @throws if two objects have different types or maps with the same name
 */
export function renderLayouts(objects: readonly CompiledObject[]): Map<string, string> {
  const described = objects.map(describe);
  const common: Common = {
    types: inSeveral(
      'the type',
      described.map(({ types }) => types),
    ),
    maps: inSeveral(
      'max_entries of the map',
      described.map(({ maps }) => new Map(maps.map(({ name, maxEntries }) => [name, maxEntries]))),
    ),
    constants: inSeveral(
      'the constant',
      described.map(({ constants }) => new Map(constants.map((name) => [name, true] as const))),
    ),
    settings: inSeveral(
      'the setting',
      described.map(({ settings }) => new Map(settings.map((name) => [name, true] as const))),
    ),
  };
  return new Map([
    ...described.map((object) => [`${basename(object.file, '.bpf.o')}.ts`, renderObject(object, common)] as const),
    ['common.ts', renderCommon(common)],
  ]);
}
