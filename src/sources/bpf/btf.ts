/**
 * BTF, the kernel's description of its own types (kernel: Documentation/bpf/btf.rst): a header, type records and
 * strings. Names are stored once, so a name is compared by its offset. Host byte order: little-endian.
 */

const MAGIC = 0xeb9f;
const TYPE_BYTES = 12;

export const KIND = {
  int: 1,
  pointer: 2,
  array: 3,
  struct: 4,
  union: 5,
  enum: 6,
  forward: 7,
  typedef: 8,
  volatile: 9,
  const: 10,
  restrict: 11,
  function: 12,
  functionProto: 13,
  variable: 14,
  dataSection: 15,
  float: 16,
  declarationTag: 17,
  typeTag: 18,
  enum64: 19,
} as const;

/** Bytes that follow a record, for each of its `vlen` elements or once. */
function extraBytes(kind: number, vlen: number): number {
  switch (kind) {
    case KIND.int:
    case KIND.variable:
    case KIND.declarationTag:
      return 4;
    case KIND.array:
      return 12;
    case KIND.enum:
    case KIND.functionProto:
      return 8 * vlen;
    case KIND.struct:
    case KIND.union:
    case KIND.dataSection:
    case KIND.enum64:
      return 12 * vlen;
    default:
      return 0;
  }
}

export interface BtfType {
  readonly id: number;
  readonly kind: number;
  readonly vlen: number;
  readonly name: string;
  /** A struct, union, enum or integer has a size; the others refer to a type. */
  readonly sizeOrType: number;
  /** Where what follows the record starts. */
  readonly extra: number;
}

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** Offset in bits. */
  readonly bits: number;
}

export class Btf {
  readonly #base: Btf | undefined;
  /** Types and bytes of strings that the base has; ours are numbered on from there. */
  readonly #baseTypes: number;
  readonly #baseStrings: number;
  readonly #view: DataView;
  readonly #bytes: Buffer;
  readonly #stringsAt: number;
  readonly #stringsEnd: number;
  /** Place of each type record by type id; 0 is void. */
  readonly #places: Uint32Array;

  /**
   * @param base the kernel's, for that of a module
   * @throws where the bytes are no BTF, or are cut
   */
  constructor(bytes: Uint8Array, base?: Btf) {
    this.#base = base;
    this.#baseTypes = base === undefined ? 0 : base.length - 1;
    this.#baseStrings = base === undefined ? 0 : base.#stringsEnd - base.#stringsAt;
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const view = this.#view;
    if (bytes.length < 24 || view.getUint16(0, true) !== MAGIC) throw new Error('BTF: no header');
    const headerBytes = view.getUint32(4, true);
    const typesAt = headerBytes + view.getUint32(8, true);
    const typesEnd = typesAt + view.getUint32(12, true);
    this.#stringsAt = headerBytes + view.getUint32(16, true);
    this.#stringsEnd = this.#stringsAt + view.getUint32(20, true);
    if (typesEnd > bytes.length || this.#stringsEnd > bytes.length) throw new Error('BTF: cut');
    this.#places = this.#index(typesAt, typesEnd);
  }

  #index(start: number, end: number): Uint32Array {
    const places = new Uint32Array(Math.floor((end - start) / TYPE_BYTES) + 1);
    let count = 1;
    for (let at = start; at + TYPE_BYTES <= end; count++) {
      places[count] = at;
      const info = this.#view.getUint32(at + 4, true);
      at += TYPE_BYTES + extraBytes((info >>> 24) & 0x1f, info & 0xffff);
    }
    return places.slice(0, count);
  }

  get length(): number {
    return this.#places.length;
  }

  type(id: number): BtfType {
    if (this.#base !== undefined && id <= this.#baseTypes) return this.#base.type(id);
    const at = this.#places[id - this.#baseTypes];
    if (at === undefined || at === 0) throw new Error(`BTF: no type ${id}`);
    const info = this.#view.getUint32(at + 4, true);
    return {
      id,
      kind: (info >>> 24) & 0x1f,
      vlen: info & 0xffff,
      name: this.string(this.#view.getUint32(at, true)),
      sizeOrType: this.#view.getUint32(at + 8, true),
      extra: at + TYPE_BYTES,
    };
  }

  /** The first type of this kind and name; of a module's types only. */
  find(kind: number, name: string): BtfType | undefined {
    const offset = this.#stringOffset(name);
    if (offset === undefined) return undefined;
    for (let id = 1; id < this.#places.length; id++) {
      const at = this.#places[id] ?? 0;
      if (this.#view.getUint32(at, true) !== offset) continue;
      if (((this.#view.getUint32(at + 4, true) >>> 24) & 0x1f) === kind) return this.type(this.#baseTypes + id);
    }
    return undefined;
  }

  members(type: BtfType): BtfMember[] {
    const members: BtfMember[] = [];
    for (let index = 0, at = type.extra; index < type.vlen; index++, at += 12) {
      members.push({
        name: this.string(this.#view.getUint32(at, true)),
        type: this.#view.getUint32(at + 4, true),
        // With bit fields in the struct the high byte is the width of this one.
        bits: this.#view.getUint32(at + 8, true) & 0xffffff,
      });
    }
    return members;
  }

  /** Offset in bits of a member, which may be in an anonymous struct or union inside. */
  memberBits(type: BtfType, name: string): number | undefined {
    for (const member of this.members(type)) {
      if (member.name === name) return member.bits;
      const inner = member.name === '' ? this.memberBits(this.resolve(member.type), name) : undefined;
      if (inner !== undefined) return member.bits + inner;
    }
    return undefined;
  }

  /** Type and number of elements of an array. */
  array(type: BtfType): { element: number; count: number } {
    return { element: this.#view.getUint32(type.extra, true), count: this.#view.getUint32(type.extra + 8, true) };
  }

  /** Bits and signedness of an integer. */
  integer(type: BtfType): { bits: number; signed: boolean } {
    const encoding = this.#view.getUint32(type.extra, true);
    return { bits: encoding & 0xff, signed: ((encoding >>> 24) & 1) !== 0 };
  }

  /** Variables of a data section, by type id. */
  sectionVariables(type: BtfType): { type: number; offset: number; size: number }[] {
    const variables: { type: number; offset: number; size: number }[] = [];
    for (let index = 0, at = type.extra; index < type.vlen; index++, at += 12) {
      variables.push({
        type: this.#view.getUint32(at, true),
        offset: this.#view.getUint32(at + 4, true),
        size: this.#view.getUint32(at + 8, true),
      });
    }
    return variables;
  }

  /** Where a static per-CPU variable is among those of a CPU; undefined where there is none of this name. */
  perCpuVariable(name: string): { readonly type: BtfType; readonly offset: number } | undefined {
    const section = this.find(KIND.dataSection, '.data..percpu');
    const variable = this.find(KIND.variable, name);
    if (section === undefined || variable === undefined) return undefined;
    const place = this.sectionVariables(section).find(({ type }) => type === variable.id);
    return place === undefined ? undefined : { type: this.resolve(variable.sizeOrType), offset: place.offset };
  }

  /** Follows typedefs and qualifiers to the type itself. */
  resolve(id: number): BtfType {
    let type = this.type(id);
    while ([KIND.typedef, KIND.const, KIND.volatile, KIND.restrict, KIND.typeTag].some((kind) => kind === type.kind)) {
      type = this.type(type.sizeOrType);
    }
    return type;
  }

  /** Values of an enumeration by name. */
  enumValues(type: BtfType): Map<string, number> {
    const wide = type.kind === KIND.enum64;
    const values = new Map<string, number>();
    for (let index = 0, at = type.extra; index < type.vlen; index++, at += wide ? 12 : 8) {
      values.set(this.string(this.#view.getUint32(at, true)), this.#view.getUint32(at + 4, true));
    }
    return values;
  }

  /** Values of the enumeration that has this member: the kernel's MIB enumerations have no name of their own. */
  enumWithMember(member: string): Map<string, number> | undefined {
    const offset = this.#stringOffset(member);
    if (offset === undefined) return undefined;
    for (let id = 1; id < this.#places.length; id++) {
      const at = this.#places[id] ?? 0;
      const info = this.#view.getUint32(at + 4, true);
      if (((info >>> 24) & 0x1f) !== KIND.enum) continue;
      for (let index = 0; index < (info & 0xffff); index++) {
        if (this.#view.getUint32(at + TYPE_BYTES + 8 * index, true) === offset)
          return this.enumValues(this.type(this.#baseTypes + id));
      }
    }
    return undefined;
  }

  /** How many arguments a tracepoint gives to a BPF program, or undefined where the kernel has no such tracepoint. */
  tracepointArguments(name: string): number | undefined {
    const typedef = this.find(KIND.typedef, `btf_trace_${name}`);
    if (typedef === undefined) return undefined;
    const prototype = this.resolve(this.type(typedef.sizeOrType).sizeOrType);
    // The first parameter is the tracepoint's own.
    return prototype.kind === KIND.functionProto ? prototype.vlen - 1 : undefined;
  }

  /** How many parameters a function has, or undefined where there is none of this name. */
  functionParameters(name: string): number | undefined {
    const type = this.find(KIND.function, name);
    return type === undefined ? undefined : this.type(type.sizeOrType).vlen;
  }

  /** The string at an offset, as records and .BTF.ext name it. */
  string(offset: number): string {
    if (this.#base !== undefined && offset < this.#baseStrings) return this.#base.string(offset);
    const start = this.#stringsAt + offset - this.#baseStrings;
    const end = this.#bytes.indexOf(0, start);
    return this.#bytes.toString('latin1', start, end);
  }

  #stringOffset(name: string): number | undefined {
    const inBase = this.#base === undefined ? undefined : this.#base.#stringOffset(name);
    if (inBase !== undefined) return inBase;
    // A module's strings do not begin with the empty one.
    const first = `${name}\0`;
    if (this.#bytes.toString('latin1', this.#stringsAt, this.#stringsAt + first.length) === first)
      return this.#baseStrings;
    const found = this.#bytes.indexOf(`\0${first}`, this.#stringsAt, 'latin1');
    return found < 0 || found >= this.#stringsEnd ? undefined : found + 1 - this.#stringsAt + this.#baseStrings;
  }
}
