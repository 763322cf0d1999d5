/**
 * Parser for BTF, the kernel's type information (kernel: Documentation/bpf/btf.rst). BTF consists of a header, type
 * records and strings. Each name is stored only once, so the parser compares names by their offsets. It supports only
 * little-endian machines.
 */

const MAGIC = 0xeb9f;
const TYPE_BYTES = 12;
const TYPE_WORDS = TYPE_BYTES / 4;

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

/**
 * Number of 32-bit words after the header of a record, by kind. EXTRA_ONCE is the number per record, and EXTRA_EACH the
 * number for each of its `vlen` elements.
 */
const EXTRA_ONCE = new Uint8Array(32);
const EXTRA_EACH = new Uint8Array(32);
for (const kind of [KIND.int, KIND.variable, KIND.declarationTag]) EXTRA_ONCE[kind] = 1;
EXTRA_ONCE[KIND.array] = 3;
for (const kind of [KIND.enum, KIND.functionProto]) EXTRA_EACH[kind] = 2;
for (const kind of [KIND.struct, KIND.union, KIND.dataSection, KIND.enum64]) EXTRA_EACH[kind] = 3;

export interface BtfType {
  readonly id: number;
  readonly kind: number;
  readonly vlen: number;
  readonly name: string;
  /** Size in bytes of a struct, union, enum or integer. For other kinds, the ID of the type that they refer to. */
  readonly sizeOrType: number;
  /** Index of the first word after the record header. */
  readonly extra: number;
}

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** Offset from the start of the struct, in bits. */
  readonly bits: number;
}

/**
 * The position of every 32nd type is stored. Skipping up to 31 of the kernel's 130,000 types costs less than storing
 * the position of each type.
 */
const TYPES_A_MARK = 32;

/** Returns the length of a type record in words. @param at index of the record's first word */
function wordsOf(words: Uint32Array, at: number): number {
  const info = words[at + 1] ?? 0;
  const kind = (info >>> 24) & 0x1f;
  return TYPE_WORDS + (EXTRA_ONCE[kind] ?? 0) + (EXTRA_EACH[kind] ?? 0) * (info & 0xffff);
}

export class Btf {
  readonly #base: Btf | undefined;
  /** Number of types and string bytes in the base. The type IDs of this object start after those of the base. */
  readonly #baseTypes: number;
  readonly #baseStrings: number;
  readonly #view: DataView;
  readonly #bytes: Buffer;
  readonly #stringsAt: number;
  readonly #stringsEnd: number;
  /** Words of the type records. */
  readonly #words: Uint32Array;
  /** Positions of the types 1, 33, 65 and so on. */
  readonly #marks: readonly number[];
  /** Number of types, including void. */
  readonly length: number;

  /**
   * @param base the kernel's own types; required if this object describes a module
   * @throws if the bytes are not BTF or are truncated
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
    if (typesAt % 4 !== 0) throw new Error('BTF: not aligned');
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    const words = new Uint32Array(aligned.buffer, aligned.byteOffset, typesEnd >>> 2);
    this.#words = words;
    const marks: number[] = [];
    let count = 0;
    for (let at = typesAt >>> 2; at + TYPE_WORDS <= words.length; count++) {
      if (count % TYPES_A_MARK === 0) marks.push(at);
      at += wordsOf(words, at);
    }
    this.#marks = marks;
    this.length = count + 1;
  }

  /** Returns the index of a type's first word. @param id ID relative to this object, excluding the types of the base */
  #place(id: number): number | undefined {
    if (id < 1 || id >= this.length) return undefined;
    let at = this.#marks[Math.floor((id - 1) / TYPES_A_MARK)] ?? 0;
    for (let left = (id - 1) % TYPES_A_MARK; left > 0; left--) at += wordsOf(this.#words, at);
    return at;
  }

  /** Yields, in order, the types whose records contain a word with this value, along with the position of that word. */
  *#recordsWith(value: number): Generator<{ readonly id: number; readonly at: number; readonly found: number }> {
    const words = this.#words;
    const first = this.#marks[0] ?? words.length;
    for (let found = words.indexOf(value, first); found >= 0; found = words.indexOf(value, found + 1)) {
      let [low, high] = [0, this.#marks.length];
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if ((this.#marks[middle] ?? 0) <= found) low = middle;
        else high = middle;
      }
      let at = this.#marks[low] ?? 0;
      let id = low * TYPES_A_MARK + 1;
      for (let next = at + wordsOf(words, at); next <= found; next = at + wordsOf(words, at)) {
        at = next;
        id++;
      }
      if (id < this.length) yield { id, at, found };
    }
  }

  type(id: number): BtfType {
    if (this.#base !== undefined && id <= this.#baseTypes) return this.#base.type(id);
    const place = this.#place(id - this.#baseTypes);
    if (place === undefined) throw new Error(`BTF: no type ${id}`);
    const at = place * 4;
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

  /** Returns the first type with this kind and name. In a module, searches only the module's own types. */
  find(kind: number, name: string): BtfType | undefined {
    const offset = this.#stringOffset(name);
    if (offset === undefined) return undefined;
    for (const { id, at, found } of this.#recordsWith(offset)) {
      if (found === at && this.#kindAt(at) === kind) return this.type(this.#baseTypes + id);
    }
    return undefined;
  }

  #kindAt(at: number): number {
    return ((this.#words[at + 1] ?? 0) >>> 24) & 0x1f;
  }

  members(type: BtfType): BtfMember[] {
    const members: BtfMember[] = [];
    for (let index = 0, at = type.extra; index < type.vlen; index++, at += 12) {
      members.push({
        name: this.string(this.#view.getUint32(at, true)),
        type: this.#view.getUint32(at + 4, true),
        // In a struct with bit fields, the upper 8 bits contain the width of the member.
        bits: this.#view.getUint32(at + 8, true) & 0xffffff,
      });
    }
    return members;
  }

  /** Returns the offset of a member in bits. Also finds members of anonymous structs and unions. */
  memberBits(type: BtfType, name: string): number | undefined {
    for (const member of this.members(type)) {
      if (member.name === name) return member.bits;
      const inner = member.name === '' ? this.memberBits(this.resolve(member.type), name) : undefined;
      if (inner !== undefined) return member.bits + inner;
    }
    return undefined;
  }

  /** Returns the element type and the number of elements of an array. */
  array(type: BtfType): { element: number; count: number } {
    return { element: this.#view.getUint32(type.extra, true), count: this.#view.getUint32(type.extra + 8, true) };
  }

  /** Returns the width in bits and the signedness of an integer. */
  integer(type: BtfType): { bits: number; signed: boolean } {
    const encoding = this.#view.getUint32(type.extra, true);
    return { bits: encoding & 0xff, signed: ((encoding >>> 24) & 1) !== 0 };
  }

  /** Returns the variables of a data section with their type IDs. */
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

  /**
   * Returns the type of a static per-CPU variable and its offset in the per-CPU area; undefined if it does not exist.
   */
  perCpuVariable(name: string): { readonly type: BtfType; readonly offset: number } | undefined {
    const section = this.find(KIND.dataSection, '.data..percpu');
    const variable = this.find(KIND.variable, name);
    if (section === undefined || variable === undefined) return undefined;
    const place = this.sectionVariables(section).find(({ type }) => type === variable.id);
    return place === undefined ? undefined : { type: this.resolve(variable.sizeOrType), offset: place.offset };
  }

  /** Resolves typedefs and qualifiers to the underlying type. */
  resolve(id: number): BtfType {
    let type = this.type(id);
    while ([KIND.typedef, KIND.const, KIND.volatile, KIND.restrict, KIND.typeTag].some((kind) => kind === type.kind)) {
      type = this.type(type.sizeOrType);
    }
    return type;
  }

  /** Returns the values of an enum by name. */
  enumValues(type: BtfType): Map<string, number> {
    const wide = type.kind === KIND.enum64;
    const values = new Map<string, number>();
    for (let index = 0, at = type.extra; index < type.vlen; index++, at += wide ? 12 : 8) {
      values.set(this.string(this.#view.getUint32(at, true)), this.#view.getUint32(at + 4, true));
    }
    return values;
  }

  /**
   * Returns the values of the enum with this member. The enums of the kernel's MIBs are anonymous, so they cannot be
   * found by name.
   */
  enumWithMember(member: string): Map<string, number> | undefined {
    const offset = this.#stringOffset(member);
    if (offset === undefined) return undefined;
    for (const { id, at, found } of this.#recordsWith(offset)) {
      const isName = found >= at + TYPE_WORDS && (found - at - TYPE_WORDS) % 2 === 0;
      if (isName && this.#kindAt(at) === KIND.enum) return this.enumValues(this.type(this.#baseTypes + id));
    }
    return undefined;
  }

  /** Returns the number of arguments that a tracepoint passes to a BPF program; undefined if it does not exist. */
  tracepointArguments(name: string): number | undefined {
    const typedef = this.find(KIND.typedef, `btf_trace_${name}`);
    if (typedef === undefined) return undefined;
    const prototype = this.resolve(this.type(typedef.sizeOrType).sizeOrType);
    // The first parameter is not passed to BPF programs.
    return prototype.kind === KIND.functionProto ? prototype.vlen - 1 : undefined;
  }

  /** Returns the number of parameters of a function; undefined if there is no such function. */
  functionParameters(name: string): number | undefined {
    const type = this.find(KIND.function, name);
    return type === undefined ? undefined : this.type(type.sizeOrType).vlen;
  }

  /** Returns the string at an offset. Type records and .BTF.ext refer to strings by offset. */
  string(offset: number): string {
    if (this.#base !== undefined && offset < this.#baseStrings) return this.#base.string(offset);
    const start = this.#stringsAt + offset - this.#baseStrings;
    const end = this.#bytes.indexOf(0, start);
    return this.#bytes.toString('latin1', start, end);
  }

  #stringOffset(name: string): number | undefined {
    const inBase = this.#base === undefined ? undefined : this.#base.#stringOffset(name);
    if (inBase !== undefined) return inBase;
    // In a module, the string section does not start with an empty string, so the name may be at its very beginning.
    const first = `${name}\0`;
    if (this.#bytes.toString('latin1', this.#stringsAt, this.#stringsAt + first.length) === first)
      return this.#baseStrings;
    const found = this.#bytes.indexOf(`\0${first}`, this.#stringsAt, 'latin1');
    return found < 0 || found >= this.#stringsEnd ? undefined : found + 1 - this.#stringsAt + this.#baseStrings;
  }
}
